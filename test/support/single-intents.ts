import fc from 'fast-check';
import type { AnyPlaced } from '../../src/schemas/resource.ts';
import { endsOf } from '../../src/schemas/link.ts';
import type { SingleSpec } from '../../src/schemas/link-types.ts';
import { linkKind } from '../../src/services/link.ts';
import { assignSingle } from '../../src/services/link-types.ts';
import { drawnOptions, offBridge, type DrawnOptions } from './drawn-options.ts';

/** What a random link of one end is drawn from. */
export interface SingleDraw {
  name: number;
  type: SingleSpec['type'];
  namespace: string;
  suffix: string;
  base: number;
  choice: number;
  bridged: boolean;
  mtu: number;
  up: boolean;
  options: DrawnOptions;
}

export const singleDraws = (namespaces: readonly string[]): fc.Arbitrary<SingleDraw[]> =>
  fc.uniqueArray(
    fc.record({
      name: fc.integer({ min: 0, max: 4 }),
      type: fc.constantFrom('macvlan', 'vxlan', 'tap'),
      namespace: fc.constantFrom(...namespaces),
      suffix: fc.constantFrom('', 'x'),
      base: fc.integer({ min: 0, max: 7 }),
      choice: fc.integer({ min: 0, max: 5 }),
      bridged: fc.boolean(),
      mtu: fc.constantFrom(1400, 1300),
      up: fc.boolean(),
      options: drawnOptions,
    }),
    { selector: ({ name }) => name, maxLength: 4 },
  );

interface Place {
  namespace: string;
  interface: string;
}

/** The link, on an interface that is there or on somebody else's; null if its namespace is not there. */
export function singleOf(draw: SingleDraw, resources: ReadonlyMap<string, AnyPlaced>): AnyPlaced | null {
  if (!resources.has(`namespace/${draw.namespace}`)) return null;
  const spec = specOf(draw, resources);
  const intent = linkKind.complete(spec);
  if (intent.type === 'veth') return null;
  const mac = assignSingle({ ...intent, mac: `0a:00:00:00:00:0${draw.name}` }, undefined);
  return { kind: 'link', name: intent.name, intent, assigned: mac };
}

function specOf(draw: SingleDraw, resources: ReadonlyMap<string, AnyPlaced>): SingleSpec {
  const { name, type, namespace, suffix, choice, mtu, up } = draw;
  const bridge = type !== 'macvlan' && draw.bridged ? bridgeIn(namespace, resources) : null;
  const { offload, ...options } = bridge === null ? offBridge(draw.options) : draw.options;
  const common = {
    name: `s${name}`,
    interface: `s${name}${suffix}`,
    namespace,
    mtu,
    up,
    addresses: [`10.7${name}.0.${choice + 1}/24`],
    bridge,
    ...options,
    ...(type === 'vxlan' && offload !== undefined ? { offload } : {}),
  };
  const all = [{ namespace: 'host', interface: 'eth9' }, ...placesIn(resources)];
  switch (type) {
    case 'macvlan': {
      const parent = all[draw.base % all.length] ?? all[0];
      const mode = (['bridge', 'private', 'vepa', 'passthru'] as const)[choice % 4] ?? 'bridge';
      return {
        ...common,
        type,
        parent: parent?.interface ?? '',
        parentNamespace: parent?.namespace ?? '',
        mode,
      };
    }
    case 'vxlan': {
      const near = placesIn(resources).filter((place) => place.namespace === namespace);
      const device = choice < 4 ? (near[draw.base % near.length]?.interface ?? null) : null;
      return { ...common, type, id: choice, remote: choice % 2 === 0 ? '10.200.0.1' : null, device };
    }
    case 'tap':
      return { ...common, type, owner: choice < 3 ? choice : null, group: choice === 5 ? 5 : null };
  }
}

/** Not macvlans: they are no parents. */
function placesIn(resources: ReadonlyMap<string, AnyPlaced>): Place[] {
  return [...resources.values()].flatMap((placed): Place[] => {
    if (placed.kind === 'bridge') return [placed.intent];
    if (placed.kind !== 'link' || placed.intent.type === 'macvlan') return [];
    return endsOf(placed.intent);
  });
}

function bridgeIn(namespace: string, resources: ReadonlyMap<string, AnyPlaced>): string | null {
  const isIn = (each: AnyPlaced): boolean => each.kind === 'bridge' && each.intent.namespace === namespace;
  return [...resources.values()].find(isIn)?.name ?? null;
}
