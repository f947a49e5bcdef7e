import type { Store } from '../db/store.ts';
import { CommandFailed } from '../kernel/errors.ts';
import { inodeOfProcess, namesOfInode } from '../kernel/namespace.ts';
import type { Processes } from '../kernel/processes.ts';
import type { Adoption } from '../schemas/adoption.ts';
import { HOST, refText, type Difference, type Kind, type Ref } from '../schemas/common.ts';
import type { AssignedOf, IntentOf } from '../schemas/resource.ts';
import { Draft } from './draft.ts';
import type { Found, SpecOf } from './kind.ts';
import { kindOf, tiesOf } from './kinds.ts';
import { Problem, problemOfCommand, taken } from './problem.ts';

/** Something in the kernel that a resource could be, with why it can't be adopted as that if so. */
export interface Prospect<K extends Kind> {
  assigned: AssignedOf<K>;
  adoption: Adoption;
  problem: Problem | null;
}

/**
 * Looks for what there is already where the resource is to be. Null if there is nothing to be adopted: the resource is
 * recorded, or nothing is there, or the place itself is unknown.
 *
 * @throws Problem if the kernel can't be looked at, or the body makes no sense
 */
export async function lookToAdopt<K extends Kind>(
  kind: K,
  spec: SpecOf<K>,
  { store, processes }: { store: Store; processes: Processes },
): Promise<Prospect<K> | null> {
  const service = kindOf(kind);
  const ref: Ref = { kind, name: spec.name };
  if (service.find === undefined || isRecorded(ref, store)) return null;
  const intent = service.complete(spec);
  if (!service.ties(intent).references.every((each) => isRecorded(each, store))) return null;
  try {
    const found = await service.find(intent, processes);
    if (found === null) return null;
    const { assigned, devices, inode } = found;
    return { assigned, adoption: { ...ref, devices, inode }, problem: problemOf(ref, intent, found, store) };
  } catch (error) {
    throw error instanceof CommandFailed ? problemOfCommand(error) : error;
  }
}

function isRecorded({ kind, name }: Ref, { resources }: Store): boolean {
  return resources.get(kind, name) !== null;
}

function problemOf<K extends Kind>(
  ref: Ref & { kind: K },
  intent: IntentOf<K>,
  found: Found<K>,
  store: Store,
): Problem | null {
  const { observed, assigned, mismatches, inode } = found;
  const owned = ownerOf(ref, found, store);
  if (owned !== null) return owned;
  if (kindOf(ref.kind).usesIpam?.(intent) === true)
    return new Problem(
      'unprocessable',
      'the kernel has it already, and what is adopted is asked for as it is: give its addresses and routes in full and leave `subnets` out, and change that with a PATCH once it is adopted',
    );
  if (inode !== null && inode === inodeOfProcess('self'))
    return new Problem(
      'unprocessable',
      `${refText(ref)} is the daemon's own namespace, which is always there as \`${HOST}\``,
    );
  const draft = new Draft(store.resources, tiesOf);
  const now = new Date().toISOString();
  const meta = { failure: null, revision: 1, createdAt: now, updatedAt: now };
  const stored = { ...ref, intent, assigned, observed, ...meta };
  const differences =
    mismatches.length > 0 ? mismatches : kindOf(ref.kind).differences(stored, observed, draft);
  if (differences.length === 0) return null;
  return new Problem(
    'foreign-object',
    `the kernel has it already, and not as it was asked for: ${differences.map(describe).join('; ')}. Nothing was changed; ask for it as it is, and change it then`,
    { differences },
  );
}

/** Something may be another resource's already under a name that it was given since. */
function ownerOf<K extends Kind>(
  ref: Ref & { kind: K },
  { devices, inode, assigned }: Found<K>,
  store: Store,
): Problem | null {
  const bound = inode === null ? [] : namesOfInode(inode);
  const other = bound.find((name) => isRecorded({ kind: 'namespace', name }, store));
  if (other !== undefined) return taken(`the namespace ${inode}`, { kind: 'namespace', name: other });
  if (!Object.values(devices).some(({ group }) => group === null)) return null;
  const macs = macsOf(assigned);
  const owner = store.resources
    .refs(ref.kind)
    .find(({ kind, name }) =>
      macsOf(store.resources.get(kind, name)?.assigned).some((mac) => macs.includes(mac)),
    );
  return owner === undefined ? null : taken('the device, by its MAC address,', owner);
}

/** The MAC addresses of the devices of a bridge or a link. */
function macsOf(assigned: object | undefined): unknown[] {
  const fields: [string, unknown][] = Object.entries(assigned ?? {});
  return fields.flatMap(([field, value]) => (field === 'mac' || field === 'peerMac' ? [value] : []));
}

function describe({ path, intended, observed }: Difference): string {
  return `${path === '' ? 'it' : path} is ${JSON.stringify(observed)}, not ${JSON.stringify(intended)}`;
}
