/**
 * How many connections may wait in the kernel until a process accepts them: the backlog of listen(2). The system may lower
 * it (net.core.somaxconn). Each listen() on a socket sets it for every process that shares the socket.
 */
export const ACCEPT_QUEUE = 4096;
