// Requests to the server, and a socket that reconnects.

export async function ask(method, path, body) {
  const response = await fetch(path, {
    method,
    headers: body ? { 'content-type': 'application/json' } : {},
    body: body && JSON.stringify(body),
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const status = response.status;
    const error = new Error(answer.error || `the server answers ${status}`);
    error.status = status;
    throw error;
  }
  return answer;
}

// Receives the frames and events of one session, until `close`.
export class Live {
  constructor(id, on) {
    this.id = id;
    this.on = on; // {event, frame, lost, gone}
    this.tries = 0;
    this.connect();
  }

  connect() {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    const path = `/sessions/${this.id}/live?format=jpeg`;
    const url = `${scheme}://${location.host}${path}`;
    this.socket = new WebSocket(url);
    this.socket.binaryType = 'arraybuffer';
    this.open = new Promise((done) => { this.socket.onopen = done; });
    this.socket.onmessage = ({ data }) => {
      this.tries = 0;
      if (typeof data === 'string') return this.on.event(JSON.parse(data));
      const head = new DataView(data);
      const image = new Blob([data.slice(8)]);
      return this.on.frame(head.getUint32(0), head.getUint32(4), image);
    };
    this.socket.onclose = ({ code }) => {
      if (this.closed) return;
      if (code === 4404) return this.on.gone();
      this.on.lost();
      this.tries += 1;
      const wait = Math.min(8000, 250 * 2 ** this.tries);
      this.timer = setTimeout(() => this.connect(), wait);
    };
  }

  send(direction) {
    if (this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(direction));
    return true;
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.socket.close();
  }
}
