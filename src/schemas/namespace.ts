import { Type, type Static } from 'typebox';
import { Labels, NewNamespaceName, metaFields, statusFields } from './common.ts';
import { Interface } from './interface.ts';
import { NamesStatus } from './names.ts';
import { nullable, ref, strictObject } from './object.ts';
import { mergePatchSchema } from './patch.ts';

/** What is written to a sysctl. */
export const SysctlValue = Type.String({ pattern: '^[\\t -~]{1,255}$' });

const Sysctls = Type.Record(Type.String({ pattern: '^net(?:\\.[A-Za-z0-9_-]{1,63}){2,7}$' }), SysctlValue, {
  additionalProperties: false,
  maxProperties: 64,
  default: {},
  description: 'keys under `net.`, dots between the parts, as sysctl(8) names them; values as text',
});

const fields = {
  pid: Type.Optional(
    nullable(
      Type.Integer({
        minimum: 1,
        maximum: 4_194_304,
        description: 'adopts the namespace that this process is in; null makes a new one',
      }),
    ),
  ),
  sysctls: Type.Optional(Sysctls),
  labels: Type.Optional(Labels),
};

export const NamespaceCreate = strictObject(
  { name: NewNamespaceName, ...fields },
  { $id: 'NamespaceCreate' },
);
export const NamespacePut = strictObject(
  { name: Type.Optional(NewNamespaceName), ...fields },
  { $id: 'NamespacePut' },
);
export type NamespaceSpec = Static<typeof NamespaceCreate>;

export const namespacePatch = mergePatchSchema('NamespacePatch', NamespacePut, []);

/** The intent of a namespace, with defaults filled in. */
export interface NamespaceIntent {
  name: string;
  pid: number | null;
  sysctls: Record<string, string>;
  labels: Labels;
}

/** What netnsd learnt when it made or adopted the namespace; inodes are used again, so the boot counts too. */
export interface NamespaceAssigned {
  bootId: string;
  inode: number;
}

export const NamespaceStatus = strictObject(
  {
    ...statusFields,
    inode: nullable(Type.Integer({ description: 'as `ls -i /run/netns` and /proc/PID/ns/net show it' })),
    path: Type.String(),
    interfaces: Type.Array(ref(Interface)),
    names: Type.Optional(ref(NamesStatus)),
  },
  { $id: 'NamespaceStatus' },
);

export const Namespace = strictObject(
  {
    name: Type.String(),
    pid: nullable(Type.Integer()),
    sysctls: Type.Record(Type.String(), Type.String()),
    labels: Labels,
    ...metaFields,
    status: ref(NamespaceStatus),
  },
  { $id: 'Namespace', description: 'a network namespace, bound at /run/netns/NAME' },
);

export const ForeignNamespace = strictObject(
  { name: Type.String(), managed: Type.Literal(false), status: ref(NamespaceStatus) },
  { $id: 'ForeignNamespace', description: 'a namespace that netnsd has not made' },
);

/** What the kernel has of a namespace. */
export interface ObservedNamespace {
  inode: number | null;
  interfaces: Interface[];
  sysctls: Record<string, string>;
}
