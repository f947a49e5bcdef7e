import { Type, type Static } from 'typebox';
import { Difference, Reference } from './common.ts';
import { nullable, ref, strictObject } from './object.ts';

interface ProblemKind {
  status: number;
  title: string;
  /** For a person: what it means and what to do. */
  explanation: string;
}

/** Every problem that the API answers with, by its slug (RFC 9457 `type` is `/problems/SLUG`). */
export const problemKinds = {
  'invalid-request': {
    status: 400,
    title: 'The request does not fit',
    explanation:
      'The body, a parameter, the query or a header does not have the form that the API asks for. `errors` names each place by JSON Pointer and says what is expected there. Unknown fields are errors; nothing is converted or dropped. Mend the request and send it again.',
  },
  unauthenticated: {
    status: 401,
    title: 'A token is needed',
    explanation:
      'Requests over TCP carry the header `Authorization: Bearer TOKEN`. The token is in the file `token` of the state directory (by default /var/lib/netnsd/token), which root can read. The unix socket needs none.',
  },
  forbidden: {
    status: 403,
    title: 'The request comes from where it may not',
    explanation:
      'The Host header names neither this machine nor an address, or the Origin header names another site. Both are what a web page that attacks a local service looks like. Call the API by its address or as localhost.',
  },
  'not-found': {
    status: 404,
    title: 'There is no such thing',
    explanation:
      'Nothing of that name is recorded, or there is no such path. `GET` the collection to see what there is.',
  },
  'method-not-allowed': {
    status: 405,
    title: 'The path has no such method',
    explanation: 'The path is right, the method is not. The header `Allow` lists the methods that it has.',
  },
  'name-conflict': {
    status: 409,
    title: 'The name is taken',
    explanation:
      'A resource of that name is recorded. Choose another name, or `PUT` to change the one that is there.',
  },
  'foreign-object': {
    status: 409,
    title: 'Something of that name is there already, and is not ours',
    explanation:
      'The kernel has an interface, a namespace or a route of that name which netnsd has not made. It was left alone. Remove it by hand if it is not needed, choose another name, or have netnsd take it over with `PUT …?adopt=true`; where it is not as asked for, `differences` says in what.',
  },
  'in-use': {
    status: 409,
    title: 'Others refer to it',
    explanation:
      '`references` names the resources that refer to it. Delete or change those first, or add `?cascade=true` to a DELETE to delete them too.',
  },
  'request-in-flight': {
    status: 409,
    title: 'The first request with this key is not answered yet',
    explanation:
      'A request with the same `Idempotency-Key` is being answered. Send it again after `Retry-After` seconds to get its answer.',
  },
  'revision-mismatch': {
    status: 412,
    title: 'It has changed since you read it',
    explanation:
      'The ETag in `If-Match` is not that of the resource as it is now. Read it again, and decide again.',
  },
  'too-large': {
    status: 413,
    title: 'The request is too large',
    explanation: 'A body may have 256 KiB at most, the request line and the headers together 16 KiB.',
  },
  'unsupported-media-type': {
    status: 415,
    title: 'The body is no JSON',
    explanation:
      'Bodies are JSON: send `Content-Type: application/json` (for PATCH, `application/merge-patch+json` as well).',
  },
  unprocessable: {
    status: 422,
    title: 'It can’t be',
    explanation:
      'The request is well formed, but what it asks for can’t be: it names a namespace or bridge that is not there, an address or interface that another resource has, a gateway that is not reachable, a subnet that overlaps something. Or its `Idempotency-Key` came with another request before. `detail` says which.',
  },
  'kernel-error': {
    status: 500,
    title: 'The kernel refused',
    explanation:
      'A command failed for a reason that netnsd has no name for. `command` and `stderr` tell which and how. Everything that the change had done was undone.',
  },
  'internal-error': {
    status: 500,
    title: 'netnsd failed',
    explanation: 'A fault of netnsd itself. Its log has the details under the request id of this answer.',
  },
  'kernel-unsupported': {
    status: 501,
    title: 'The kernel or a tool lacks a feature',
    explanation:
      'The kernel of this machine, or one of its tools, can’t do what the change needs. `GET /system` lists what it has.',
  },
  'firewall-busy': {
    status: 503,
    title: 'Somebody else holds the firewall’s lock',
    explanation:
      'Another program was changing the firewall for more than five seconds. Try again after `Retry-After` seconds.',
  },
  'store-unavailable': {
    status: 503,
    title: 'The store can’t be written or read',
    explanation:
      'The disk of the store fails, or its files were taken away while netnsd has them open; `detail` says which, and what to do. The kernel was left as it was.',
  },
  permission: {
    status: 503,
    title: 'netnsd lacks a privilege',
    explanation:
      'netnsd needs CAP_NET_ADMIN and CAP_SYS_ADMIN, and /run/netns to be writable and shared. `stderr` tells what was refused.',
  },
  timeout: {
    status: 503,
    title: 'A command did not end in time',
    explanation:
      'A command was ended because it took too long, and the change was undone; or changes before it took too long, and nothing was tried. Try again after `Retry-After` seconds.',
  },
  'shutting-down': {
    status: 503,
    title: 'netnsd is stopping',
    explanation: 'No new changes are taken. Try again when it has been started again.',
  },
  'limit-reached': {
    status: 507,
    title: 'A limit is reached',
    explanation:
      'A limit of the kernel (namespaces: user.max_net_namespaces; ports of a bridge: 1,000), a subnet of a bridge or the disk of the store is used up. `GET /system` shows limits and use.',
  },
} as const satisfies Record<string, ProblemKind>;

export type ProblemSlug = keyof typeof problemKinds;

export const problemSlugs = Object.keys(problemKinds).filter(
  (slug): slug is ProblemSlug => slug in problemKinds,
);

const ProblemError = strictObject({
  pointer: Type.String({
    description: 'JSON Pointer (RFC 6901) into the body, or the name of a parameter or header',
  }),
  message: Type.String(),
});
export type ProblemError = Static<typeof ProblemError>;

export const ProblemDocument = strictObject(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String({ description: 'what was wrong with which value, and what to do' }),
    instance: Type.String({ description: 'the path of the request' }),
    requestId: Type.String({ description: 'the same in the log' }),
    errors: Type.Optional(Type.Array(ProblemError)),
    command: Type.Optional(Type.String({ description: 'the command that failed' })),
    exitCode: Type.Optional(nullable(Type.Integer())),
    stderr: Type.Optional(Type.String({ description: 'what the tool said' })),
    differences: Type.Optional(
      Type.Array(ref(Difference), {
        description: 'with `adopt`: where what is in the kernel is not as it was asked for',
      }),
    ),
    references: Type.Optional(Type.Array(ref(Reference), { description: 'what is in the way' })),
  },
  { $id: 'Problem', description: 'RFC 9457 problem details' },
);
export type ProblemDocument = Static<typeof ProblemDocument>;
