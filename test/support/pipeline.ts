import { connect } from 'node:net';
import { once } from 'node:events';

export interface PipelinedAnswer {
  status: number;
  body: Record<string, unknown>;
}

/**
 * Sends requests down one connection without waiting for answers (RFC 9112, section 9.3.2): they arrive together,
 * and in this order, which requests on connections of their own need not.
 */
export async function pipeline(
  socketPath: string,
  requests: readonly [method: string, path: string, body?: object][],
): Promise<PipelinedAnswer[]> {
  const socket = connect(socketPath);
  const text = requests.map(([method, path, body], at) => {
    const content = body === undefined ? '' : JSON.stringify(body);
    const headers = [
      'host: localhost',
      ...(body === undefined
        ? []
        : ['content-type: application/json', `content-length: ${Buffer.byteLength(content)}`]),
      ...(at === requests.length - 1 ? ['connection: close'] : []),
    ];
    return `${method} ${path} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n${content}`;
  });
  socket.write(text.join(''));
  let received = '';
  socket.on('data', (data: Buffer) => (received += data.toString()));
  await once(socket, 'close');
  return received.split(/(?=HTTP\/1\.1 \d{3} )/).map((answer) => {
    const [head = '', body = ''] = answer.split('\r\n\r\n');
    return {
      status: Number(head.slice(9, 12)),
      body: body === '' ? {} : (JSON.parse(body) as Record<string, unknown>),
    };
  });
}
