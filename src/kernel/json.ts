/**
 * Parses what `ip -j` prints. A control character in somebody's interface name or alias is printed as it is,
 * which no JSON may hold; it is escaped then, so that one odd name does not hide all the others.
 *
 * @throws SyntaxError if it is no JSON even so
 */
export function parseToolJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Only the tolerant reading remains; if that fails as well, its error is the one to see.
    return JSON.parse(text.replaceAll(CONTROL, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`));
  }
}

// eslint-disable-next-line no-control-regex -- control characters are what is looked for
const CONTROL = /[\u0000-\u001f]/g;
