import type { TSchema } from 'typebox';
import { ref } from '../schemas/object.ts';
import { ProblemDocument, problemKinds, type ProblemSlug } from '../schemas/problem.ts';

/** A response as OpenAPI describes it: a schema, in words, by example. */
export interface DescribedAnswer {
  description: string;
  content: Record<
    string,
    { schema: TSchema; examples: Record<string, { summary?: string; value: unknown }> }
  >;
  headers?: Record<string, { type: 'string'; description: string }>;
}

/** Of the headers that are named, as OpenAPI describes them. */
export function describedHeaders(names: readonly HeaderName[]): NonNullable<DescribedAnswer['headers']> {
  return Object.fromEntries(names.map((name) => [name, headerDescriptions[name]]));
}

export function answer(
  schema: TSchema,
  description: string,
  example: unknown,
  headers: readonly HeaderName[] = [],
): DescribedAnswer {
  return answerByExamples(schema, description, { example }, headers);
}

/** The same with several examples, by name. */
export function answerByExamples(
  schema: TSchema,
  description: string,
  examples: Record<string, unknown>,
  headers: readonly HeaderName[] = [],
): DescribedAnswer {
  return {
    description,
    content: { 'application/json': { schema, examples: asExamples(examples) } },
    ...(headers.length === 0 ? {} : { headers: describedHeaders(headers) }),
  };
}

/** As OpenAPI has examples. */
export function asExamples(examples: Record<string, unknown>): Record<string, { value: unknown }> {
  return Object.fromEntries(Object.entries(examples).map(([name, value]) => [name, { value }]));
}

/** The headers that answers carry beside their bodies. */
const headerDescriptions = {
  ETag: { type: 'string', description: 'the revision, for If-Match and If-None-Match' },
  Location: { type: 'string', description: 'the path of the new resource' },
  Operation: { type: 'string', description: 'the path of the journal entry of this change' },
  'Idempotent-Replayed': {
    type: 'string',
    description: '`true` where this is the first answer again, and nothing was done; else left out',
  },
} as const;

type HeaderName = keyof typeof headerDescriptions;

/** An answer without a body. */
export function emptyAnswer(description: string, headers: readonly HeaderName[] = []): object {
  return {
    type: 'null',
    description,
    headers: describedHeaders(headers),
  };
}

const EVERYWHERE: readonly ProblemSlug[] = ['unauthenticated', 'forbidden', 'internal-error'];

/** The problems that a route answers with, by status, each with an example. */
export function problemAnswers(...slugs: readonly ProblemSlug[]): Record<number, DescribedAnswer> {
  const byStatus = Map.groupBy([...new Set([...slugs, ...EVERYWHERE])], (slug) => problemKinds[slug].status);
  return Object.fromEntries(
    [...byStatus].map(([status, group]) => [
      status,
      {
        description: group.map((slug) => problemKinds[slug].title).join('; or: '),
        content: {
          'application/problem+json': {
            schema: ref(ProblemDocument),
            examples: Object.fromEntries(
              group.map((slug) => [slug, { summary: problemKinds[slug].title, value: exampleOf(slug) }]),
            ),
          },
        },
      },
    ]),
  );
}

/** What any change may be refused with. */
export const CHANGE_PROBLEMS = [
  'invalid-request',
  'foreign-object',
  'in-use',
  'revision-mismatch',
  'unprocessable',
  'too-large',
  'unsupported-media-type',
  'kernel-error',
  'kernel-unsupported',
  'firewall-busy',
  'store-unavailable',
  'permission',
  'timeout',
  'shutting-down',
  'limit-reached',
] as const satisfies readonly ProblemSlug[];

/** What a look at the kernel may be refused with. */
export const READ_PROBLEMS = [
  'invalid-request',
  'not-found',
  'kernel-error',
  'permission',
  'timeout',
] as const satisfies readonly ProblemSlug[];

/** A problem, by example; with a detail of its own if one is given. */
export function exampleOf(slug: ProblemSlug, own: object = {}): object {
  const { title, status } = problemKinds[slug];
  return {
    type: `/problems/${slug}`,
    title,
    status,
    detail: details[slug] ?? problemKinds[slug].explanation,
    instance: '/links/veth00',
    requestId: '0192b3c4-5d6e-7f80-9a1b-2c3d4e5f6071',
    ...extras[slug],
    ...own,
  };
}

const details: Partial<Record<ProblemSlug, string>> = {
  'invalid-request':
    'the body: /peer/addresses/0: "010.1.0.3/24" is not written canonically; if 8.1.0.3 is meant, write that',
  'not-found': 'no link "veth00" is recorded; GET the collection to see what there is',
  'name-conflict': 'link/veth00 is recorded already; choose another name, or PUT to change it',
  'foreign-object':
    'the kernel has something of that name which netnsd has not made; it was left alone: `ip link add name veth00 …` said: RTNETLINK answers: File exists',
  'in-use': 'bridge/br00 is named by link/veth00; delete these first, or all at once with ?cascade=true',
  'request-in-flight':
    'the first request with the Idempotency-Key "6f1c" is not answered yet; send it again in a second',
  'revision-mismatch': 'link/veth00 is at revision "4", not "3"; read it again and decide again',
  unprocessable: '/peer/namespace names the namespace "blue", which is not recorded; create it first',
};

const extras: Partial<Record<ProblemSlug, object>> = {
  'invalid-request': {
    errors: [
      {
        pointer: '/peer/addresses/0',
        message: '"010.1.0.3" is not written canonically; if 8.1.0.3 is meant, write that',
      },
    ],
  },
  'in-use': { references: [{ kind: 'link', name: 'veth00', href: '/links/veth00' }] },
  'foreign-object': {
    command: 'ip link add name veth00 group 20851 type veth peer name veth10',
    exitCode: 2,
    stderr: 'RTNETLINK answers: File exists',
  },
  'kernel-error': {
    command: 'ip link set dev veth00 up',
    exitCode: 2,
    stderr: 'RTNETLINK answers: Invalid argument',
  },
};
