import type { Stored } from '../db/resources.ts';
import {
  boundAs,
  boundInode,
  inodeOfProcess,
  liveInode,
  namesOfInode,
  parseNamespace,
  readBootId,
  readsOfNamespace,
} from '../kernel/namespace.ts';
import { answerFrom } from '../kernel/snapshot.ts';
import { namespacePath } from '../kernel/marks.ts';
import { differencesOfNamespace } from '../plan/namespace.ts';
import { HOST } from '../schemas/common.ts';
import type { NamespaceIntent } from '../schemas/namespace.ts';
import type { Draft } from './draft.ts';
import { checkSysctlsOfNamespace } from './end.ts';
import { checkForwardingOfNamespace } from './forwarding.ts';
import { checkIpv6OfNamespace } from './ipv6.ts';
import type { KindService } from './kind.ts';
import { lookAt } from './look.ts';
import { Problem, taken } from './problem.ts';

export const namespaceKind: KindService<'namespace'> = {
  complete: ({ name, pid = null, sysctls = {}, labels = {} }) => ({ name, pid, sysctls, labels }),

  check: (intent, draft, before) => {
    const inode = intent.pid === null ? null : adoptedInode(intent, intent.pid, before, draft);
    if (before !== null) checkStaysSame(before, intent, inode, draft);
    checkForwardingOfNamespace(intent, draft);
    checkSysctlsOfNamespace(intent, draft);
    checkIpv6OfNamespace(intent, draft);
  },

  assign: ({ pid }, before) => {
    if (before !== null && isStillBound(before, pid)) return before.assigned;
    return { bootId: readBootId(), inode: (pid === null ? null : inodeOfProcess(pid)) ?? 0 };
  },
  ties: () => ({ references: [], claims: [], needs: [] }),

  reads: (intent) => readsOfNamespace(intent).map((read) => ({ ...read, sysctls: [] })),
  result: (stored, [answer]) => {
    const { name, sysctls } = stored.intent;
    const { inode, interfaces } = parseNamespace([answer ?? null], name);
    return {
      observed: { inode, interfaces, sysctls },
      assigned: { ...stored.assigned, inode: inode ?? stored.assigned.inode },
    };
  },
  seen: (intent, snapshot) =>
    parseNamespace(
      readsOfNamespace(intent).map((read) => answerFrom(snapshot, read)),
      intent.name,
    ),
  isCurrent: (stored) => stored.intent.pid === null || isStillBound(stored, stored.intent.pid),
  look: async (intent, processes) => {
    if (boundInode(intent.name) === null) return parseNamespace([null], intent.name);
    return parseNamespace(await lookAt(processes, readsOfNamespace(intent)), intent.name);
  },
  find: async (intent, processes) => {
    const inode = intent.pid === null ? boundInode(intent.name) : null;
    if (inode === null) return null;
    return {
      observed: parseNamespace(await lookAt(processes, readsOfNamespace(intent)), intent.name),
      assigned: { bootId: readBootId(), inode },
      mismatches: [],
      devices: {},
      inode,
    };
  },
  differences: ({ intent, assigned }, observed) =>
    differencesOfNamespace(intent, liveInode(assigned), observed),
  status: ({ name }, { inode, interfaces }) => ({ inode, path: namespacePath(name), interfaces }),
};

/** Whether what was made or adopted then is still bound; a pid may have passed to another process since. */
function isStillBound({ intent, assigned }: Stored<'namespace'>, pid: number | null): boolean {
  return pid === intent.pid && boundAs(intent.name, assigned) !== null;
}

function adoptedInode(
  intent: NamespaceIntent,
  pid: number,
  before: Stored<'namespace'> | null,
  draft: Draft,
): number {
  if (before !== null && isStillBound(before, pid)) return before.assigned.inode;
  return checkAdoption(intent, pid, draft);
}

/** Gives the inode of the namespace that is to be adopted. */
function checkAdoption({ name }: NamespaceIntent, pid: number, draft: Draft): number {
  const inode = inodeOfProcess(pid);
  if (inode === null)
    throw new Problem('unprocessable', `/pid: there is no process ${pid} whose namespace could be adopted`);
  if (inode === inodeOfProcess('self'))
    throw new Problem(
      'unprocessable',
      `/pid: process ${pid} is in the daemon's own namespace, which is always there as \`${HOST}\``,
    );
  const other = namesOfInode(inode).find((bound) => bound !== name && draft.get('namespace', bound) !== null);
  if (other !== undefined)
    throw taken(`the namespace ${inode}, in which process ${pid} is,`, { kind: 'namespace', name: other });
  return inode;
}

/** Another namespace under the same name would leave behind all that was made in the one before. */
function checkStaysSame(
  before: Stored<'namespace'>,
  intent: NamespaceIntent,
  inode: number | null,
  draft: Draft,
): void {
  // What is gone has left nothing behind; what refers to it comes back in the new one.
  if (boundInode(intent.name) === null) return;
  const isSame =
    inode === null
      ? before.intent.pid === null
      : inode === before.assigned.inode && before.intent.pid !== null;
  const references = draft.referrers({ kind: 'namespace', name: intent.name });
  if (isSame || references.length === 0) return;
  throw new Problem(
    'in-use',
    `/pid: ${intent.name} would become another namespace while others refer to it; delete those first`,
    {
      references,
    },
  );
}
