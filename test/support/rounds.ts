/** Whether each test is to run its full figures (`script/test --long`), not a few minutes' worth. */
export const isLong = process.env['NETNSD_TEST_LONG'] === '1';

/** How many rounds a test does: a few, or as many as the promise says. */
export function rounds(short: number, long: number): number {
  return isLong ? long : short;
}

/** At most so many, from all over the list: all of them in the long run. */
export function spread<T>(items: readonly T[], short: number): T[] {
  if (isLong || items.length <= short) return [...items];
  return Array.from(
    { length: short },
    (_, n) => items[Math.floor(((n + 0.5) * items.length) / short)],
  ).filter((item) => item !== undefined);
}

/** Says, in the long run, what docs/reliability.md is to say. */
export function reportFigures(promise: string, count: string, result: string): void {
  if (isLong) console.info(`reliability | ${promise} | ${count} | ${result}`);
}
