import { StoreError } from './errors.ts';

/**
 * Reads a JSON column. What stands there was written from a value of that type by this daemon, which alone has
 * the store; the table checks that it is JSON.
 *
 * @throws StoreError if it is none any more, because the disk has changed it
 */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller knows which type was written
export function parseColumn<T>(text: string): T {
  try {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- see above
    return JSON.parse(text) as T;
  } catch (error) {
    throw new StoreError('corrupt', 'a row of the store is damaged; stop netnsd and restore a copy', {
      cause: error,
    });
  }
}

/** Reads a text column that holds one of a few words; see `parseColumn`. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller knows which type was written
export function wordColumn<T extends string>(text: string): T {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- see above
  return text as T;
}
