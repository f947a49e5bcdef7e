import type { TSchema } from 'typebox';
import type { Kind } from '../schemas/common.ts';
import { strictObject } from '../schemas/object.ts';
import type { Idempotency } from '../services/idempotency.ts';
import type { ResourceService } from '../services/resources.ts';

/** What the routes of a collection call. */
export interface CollectionServices {
  resources: ResourceService;
  idempotency: Idempotency;
}

interface Examples {
  create: object;
  resource: object;
  patch: object;
}

/** What the routes of one collection need to know of its kind. */
export interface Collection<K extends Kind> {
  kind: K;
  tag: string;
  /** `a link`, for summaries. */
  noun: string;
  schemas: { resource: TSchema; create: TSchema; put: TSchema; patch: TSchema; name: TSchema };
  /** The filters that make sense for the kind, beside labels. */
  filters: readonly ('namespace' | 'bridge')[];
  /** `others` are of further variants, by what they are called. */
  examples: Examples & { others?: Record<string, Examples> };
  /** Whether PUT can take over what netnsd has not made. */
  isAdoptable: boolean;
  /** Items that `?all=true` adds; left out where the kind has no such thing. */
  foreign?: {
    schema: TSchema;
    list: (namespace: string | null) => Promise<object[]>;
    /** One by name, or null. */
    get: (name: string) => Promise<object | null>;
  };
}

/** The examples of one sort for OpenAPI, by name. */
export function examplesOf<K extends Kind>(
  { examples }: Collection<K>,
  sort: keyof Examples,
): Record<string, object> {
  const others = Object.entries(examples.others ?? {}).map(([name, each]) => [name, each[sort]] as const);
  return { example: examples[sort], ...Object.fromEntries(others) };
}

export interface NameParams {
  name: string;
}

export function nameParams(name: TSchema): TSchema {
  return strictObject({ name });
}

/** The kind in the names of operations: `Link` in `createLink`. */
export function titleOf(kind: Kind): string {
  return kind === 'nat' ? 'Nat' : kind.charAt(0).toUpperCase() + kind.slice(1);
}
