import { readdir } from 'node:fs/promises';
import { ask } from './ask.ts';
import { ipJson, rulesOf } from './shell.ts';

export type Resource = Record<string, unknown> & { name: string };

/** All resources, by the path of each, as the store has them. */
export async function recorded(socketPath: string): Promise<Map<string, Resource>> {
  const found = new Map<string, Resource>();
  for (const collection of ['namespaces', 'bridges', 'links', 'nat']) {
    const answer = await ask(socketPath, 'GET', `/${collection}?limit=1000`);
    if (answer?.status !== 200) throw new Error(`GET /${collection}: ${JSON.stringify(answer)}`);
    for (const resource of answer.body['items'] as Resource[])
      if (resource.name !== 'host') found.set(`/${collection}/${resource.name}`, resource);
  }
  return found;
}

/**
 * What is not as it should be when nothing goes on: resources that are not ready, drift, things of netnsd in the kernel
 * that are not in the store, operations that are not over.
 */
export async function complaintsAbout(socketPath: string): Promise<string[]> {
  const resources = await recorded(socketPath);
  const [drift, operations, orphans, ...each] = await Promise.all([
    ask(socketPath, 'GET', '/drift'),
    ask(socketPath, 'GET', '/operations?limit=200'),
    orphansBeside(resources),
    ...[...resources.keys()].map(async (path) => notReady(socketPath, path)),
  ]);
  const { items, unrecorded } = (drift?.body ?? {}) as { items?: unknown[]; unrecorded?: unknown[] };
  const open = ((operations?.body['items'] ?? []) as Record<string, unknown>[]).filter(
    ({ state, undone }) => state === 'running' || undone === false,
  );
  return [
    ...each.flat(),
    ...(items ?? ['GET /drift has no answer']).map((item) => `drift: ${JSON.stringify(item)}`),
    ...(unrecorded ?? []).map((item) => `unrecorded: ${JSON.stringify(item)}`),
    ...open.map((operation) => `not over: ${JSON.stringify(operation)}`),
    ...orphans,
  ];
}

/** Waits, for a bounded number of looks, until there is nothing to complain of; gives what is left. */
export async function settledComplaints(socketPath: string): Promise<string[]> {
  let complaints: string[] = [];
  for (let look = 0; look < LOOKS; look++) {
    complaints = await complaintsAbout(socketPath);
    if (complaints.length === 0) return [];
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  return complaints;
}

const LOOKS = 40;
const PAUSE_MS = 100;

async function notReady(socketPath: string, path: string): Promise<string[]> {
  const answer = await ask(socketPath, 'GET', path);
  const status = answer?.body['status'] as Record<string, unknown> | undefined;
  return status?.['state'] === 'ready'
    ? []
    : [`${path}: ${String(answer?.status)} ${JSON.stringify(status ?? answer?.body)}`];
}

/** What bears netnsd's mark in the kernel, or a name in /run/netns, and is not one of the resources; and the reverse. */
async function orphansBeside(resources: ReadonlyMap<string, Resource>): Promise<string[]> {
  const all = [...resources];
  const of = (collection: string): Resource[] =>
    all.flatMap(([path, resource]) => (path.startsWith(`/${collection}/`) ? [resource] : []));
  const names = of('namespaces').map(({ name }) => name);
  const bound = (await readdir('/run/netns')).filter((name) => name !== 'internet');
  const ends = [
    ...of('bridges'),
    ...of('links'),
    ...of('links').flatMap(({ peer }) => (peer === undefined ? [] : [peer as Record<string, unknown>])),
  ];
  const devices = ends.map((end) => `${String(end['namespace'])} ${String(end['interface'])}`);
  const places = ['host', ...bound.filter((name) => names.includes(name))];
  const found = (await Promise.all(places.map(devicesOfOurs))).flat();
  const rules = (await Promise.all(places.map(ruleOwners))).flat();
  return [
    ...differences('namespace', names, bound),
    ...differences('device', devices, found),
    ...[...new Set(rules)]
      .filter((owner) => !resources.has(`/nat/${owner}`))
      .map((owner) => `orphan rule of ${owner}`),
  ];
}

function differences(what: string, wanted: readonly string[], found: readonly string[]): string[] {
  return [
    ...found.filter((name) => !wanted.includes(name)).map((name) => `orphan ${what} ${name}`),
    ...wanted.filter((name) => !found.includes(name)).map((name) => `missing ${what} ${name}`),
  ];
}

async function devicesOfOurs(namespace: string): Promise<string[]> {
  const inside = namespace === 'host' ? [] : ['-n', namespace];
  const devices = await ipJson(...inside, 'link', 'show', 'group', '20851');
  return devices.flatMap(({ ifname }) => (typeof ifname === 'string' ? [`${namespace} ${ifname}`] : []));
}

async function ruleOwners(namespace: string): Promise<string[]> {
  const rules = await Promise.all(
    ([4, 6] as const).map(async (family) => rulesOf(namespace === 'host' ? null : namespace, family)),
  );
  return rules.flat().flatMap((rule) => /netnsd:nat\/([^:]+):/.exec(rule)?.[1] ?? []);
}
