import { Agent, request } from 'node:http';

/** One user of the session manager, on one kept connection or with one for each request, who never tries anything twice. */
export class Client {
  running = true;
  answers = 0;
  lostWrites = 0;
  errors = [];
  #url;
  #agent;

  constructor(url, { keepAlive = true } = {}) {
    this.#url = url;
    this.#agent = new Agent({ keepAlive, maxSockets: 1 });
  }

  /** Writes and reads in turn until told to stop, or until nobody listens any more. */
  async run() {
    const { session_id } = await this.post('/sessman/new?userid=bench', { data: { number: 0 } });
    let written = 0;
    for (let number = 1; this.running; number += 1) {
      try {
        await this.post(`/sessman/patch?session_id=${session_id}`, { data: { number } });
        written = number;
        const { data } = await this.get(`/sessman/get?userid=bench&session_id=${session_id}`);
        if (data.number < written) this.lostWrites += 1;
      } catch (error) {
        this.errors.push(error);
        if (error.code === 'ECONNREFUSED') break;
      }
    }
    this.#agent.destroy();
  }

  get(path) {
    return this.#send('GET', path);
  }

  post(path, body) {
    return this.#send('POST', path, JSON.stringify(body));
  }

  #send(method, path, body) {
    return new Promise((resolve, reject) => {
      const headers =
        body === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': body.length };
      const call = request(this.#url + path, { method, headers, agent: this.#agent }, (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (part) => {
          text += part;
        });
        answer.on('error', reject);
        answer.on('end', () => {
          if (answer.statusCode !== 200) reject(new Error(`${method} ${path}: ${answer.statusCode} ${text}`));
          else {
            this.answers += 1;
            resolve(JSON.parse(text));
          }
        });
      });
      call.on('error', reject);
      call.end(body);
    });
  }
}
