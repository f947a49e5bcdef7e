import type { OperationRecord, OperationRepository } from '../db/operations.ts';
import type { Operation } from '../schemas/operation.ts';
import { Problem } from './problem.ts';

/** Reads the journal. */
export class OperationService {
  readonly #operations: OperationRepository;

  constructor(operations: OperationRepository) {
    this.#operations = operations;
  }

  get(id: string): Operation {
    const found = this.#operations.get(Number(id));
    if (found === null)
      throw new Problem('not-found', `the journal has no operation ${id}; it keeps the newest 10,000`);
    return asPublic(found);
  }

  list(limit: number, after: string | null): { items: Operation[]; next: string | null } {
    const found = this.#operations.list({ before: after === null ? null : Number(after), limit: limit + 1 });
    const items = found.slice(0, limit).map(asPublic);
    return { items, next: found.length > limit ? (items.at(-1)?.id ?? null) : null };
  }
}

/** What the journal keeps for undoing is nobody's business outside. */
function asPublic({
  id,
  before: _before,
  after: _after,
  notes: _notes,
  ...shown
}: OperationRecord): Operation {
  return { id: String(id), ...shown };
}
