import cluster from 'node:cluster';

// node:http by hand once more, as many processes of it as WORKERS says.
if (cluster.isPrimary) for (let i = 0; i < Number(process.env.WORKERS); i++) cluster.fork();
else await import('./node-http.mjs');
