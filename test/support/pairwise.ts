/** `isolated=true intercom=false`, …: each two values that a row has together. */
export function pairsOf(row: object): string[] {
  const values = Object.entries(row).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return values.flatMap((one, at) => values.slice(at + 1).map((other) => `${one} ${other}`));
}

/**
 * A few of the rows, in which every two values that are together in any of them are together in one: what goes wrong
 * mostly takes two. Chosen greedily, the row first that has most pairs that are still missing.
 *
 * @param start where to begin in the list among rows that are as good, so that others are chosen another time
 */
export function pairwise<T extends object>(rows: readonly T[], start = 0): T[] {
  const missing = new Set(rows.flatMap((row) => pairsOf(row)));
  const order = [...rows.slice(start), ...rows.slice(0, start)];
  const chosen: T[] = [];
  while (missing.size > 0) {
    const news = order.map((row) => pairsOf(row).filter((pair) => missing.has(pair)));
    const most = Math.max(...news.map((pairs) => pairs.length));
    const at = news.findIndex((pairs) => pairs.length === most);
    chosen.push(...order.slice(at, at + 1));
    for (const pair of news[at] ?? []) missing.delete(pair);
  }
  return chosen;
}
