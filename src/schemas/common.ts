import { Type, type Static } from 'typebox';
import type { FormatName } from './format.ts';
import { nullable, ref, strictObject } from './object.ts';

/** The kinds of resource, as they stand in references, comments and the store. */
export const kindNames = ['namespace', 'bridge', 'link', 'nat'] as const;
export type Kind = (typeof kindNames)[number];

/** The collection of each kind, as it stands in a URL. */
export const collectionOf = {
  namespace: 'namespaces',
  bridge: 'bridges',
  link: 'links',
  nat: 'nat',
} as const satisfies Record<Kind, string>;

/** The reserved name of the namespace in which the daemon runs. */
export const HOST = 'host';

const NAME = '[A-Za-z0-9][A-Za-z0-9._-]{0,62}';

export const ResourceName = Type.String({
  pattern: `^${NAME}$`,
  description:
    '1 to 63 characters: letters, digits, dot, underscore and hyphen, the first a letter or a digit',
});

/** A namespace that may be created: that of the daemon's own is always there. */
export const NewNamespaceName = Type.String({
  pattern: `^(?!host$)${NAME}$`,
  description:
    '1 to 63 characters: letters, digits, dot, underscore and hyphen, the first a letter or a digit; not `host`, the reserved name of the namespace in which the daemon runs',
});

/** An interface as the kernel names it: IFNAMSIZ is 16 with the final NUL, and `%`, `+`, `!` mean something to tools. */
export const INTERFACE_NAME = {
  pattern: '^(?!(?:lo|all|default)$)[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$',
  description:
    'an interface name: 1 to 15 characters, letters, digits, underscore, dot and hyphen, the first a letter, digit or underscore; not `lo`, `all` or `default`',
};
export const InterfaceName = Type.String(INTERFACE_NAME);

/** A regular expression for what stands before the `=` of a label. */
export const LABEL_KEY = '[A-Za-z0-9][A-Za-z0-9._/-]{0,62}';

export const Labels = Type.Record(
  Type.String({ pattern: `^${LABEL_KEY}$` }),
  Type.String({ maxLength: 255 }),
  {
    additionalProperties: false,
    maxProperties: 64,
    description:
      'up to 64 keys of the client’s own; a key begins with a letter or digit, then letters, digits, . _ / -',
  },
);
export type Labels = Static<typeof Labels>;

/** A string of one of the API's formats. */
export function formatted(format: FormatName, description: string) {
  return Type.String({ format, maxLength: 64, description });
}

export const Reference = strictObject(
  {
    kind: Type.Enum([...kindNames]),
    name: Type.String(),
    href: Type.Optional(Type.String()),
  },
  { $id: 'Reference', description: 'a resource that is named by another' },
);

/** A resource by kind and name. */
export interface Ref {
  kind: Kind;
  name: string;
}

export function refText({ kind, name }: Ref): string {
  return `${kind}/${name}`;
}

export const Difference = strictObject(
  {
    path: Type.String({ description: 'JSON Pointer into the resource' }),
    intended: Type.Unknown({ description: 'what was asked for' }),
    observed: Type.Unknown({ description: 'what the kernel has; null where it has nothing' }),
  },
  { $id: 'Difference', description: 'one point in which the kernel differs from what was asked' },
);
export type Difference = Static<typeof Difference>;

const stateNames = ['ready', 'drifted', 'failed'] as const;

/** The fields that the status of every resource has. */
export const statusFields = {
  state: Type.Enum([...stateNames], {
    description:
      'ready: the kernel has what was asked. drifted: it has not. failed: a repair was tried and failed.',
  }),
  message: nullable(Type.String({ description: 'why the state is not `ready`, for a person' })),
  differences: Type.Optional(Type.Array(ref(Difference))),
};

/** What every recorded resource has beside its intent. */
export const metaFields = {
  managed: Type.Optional(Type.Boolean({ description: 'false for what netnsd has not made' })),
  revision: Type.Integer({ minimum: 1, description: 'counts the changes of the intent; also the ETag' }),
  createdAt: Type.String({ format: 'date-time' }),
  updatedAt: Type.String({ format: 'date-time' }),
};

export interface Meta {
  revision: number;
  createdAt: string;
  updatedAt: string;
}

export const Statistics = strictObject(
  {
    rxBytes: Type.Integer(),
    rxPackets: Type.Integer(),
    rxErrors: Type.Integer(),
    rxDropped: Type.Integer(),
    txBytes: Type.Integer(),
    txPackets: Type.Integer(),
    txErrors: Type.Integer(),
    txDropped: Type.Integer(),
  },
  { $id: 'Statistics', description: 'counters of an interface since it was made' },
);
export type Statistics = Static<typeof Statistics>;
