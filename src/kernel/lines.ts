import { StringDecoder } from 'node:string_decoder';

/** What is longer is no line of a tool that netnsd starts, and is not to fill the memory. */
const LONGEST_LINE = 1024 * 1024;

/** Hands on whole lines. A line ends with LF alone: readline would split at U+2028 as well. */
export class LineSplitter {
  readonly #onLine: (line: string) => void;
  readonly #decoder = new StringDecoder('utf8');
  #rest = '';

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  push(chunk: Buffer): void {
    const text = this.#decoder.write(chunk);
    let from = 0;
    for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', from)) {
      const line = this.#rest + text.slice(from, at);
      this.#rest = '';
      from = at + 1;
      this.#onLine(line);
    }
    this.#rest += text.slice(from);
    if (this.#rest.length > LONGEST_LINE) this.#rest = '';
  }
}
