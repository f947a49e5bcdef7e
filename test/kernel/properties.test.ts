import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { observe, type NamespaceIdentity, type Recognition } from '../../src/kernel/observe.ts';
import { createProcesses } from '../../src/kernel/processes.ts';
import { run } from '../../src/kernel/run.ts';
import type { KernelState } from '../../src/kernel/state.ts';
import type { Intent } from '../../src/plan/intent.ts';
import { compile, devicesExpected, plan } from '../../src/plan/plan.ts';
import { familyOf } from '../../src/schemas/address.ts';
import type { AnyPlaced } from '../../src/schemas/resource.ts';
import { kernelState, leftBehind } from '../support/kernel-state.ts';
import { intents, nothing } from '../support/intents.ts';
import { essence } from '../support/model.ts';
import { policingLacks } from '../support/policing.ts';

const RUNS = 25;

/** The names that the random networks use are free before: what bears them then is ours. */
const identities = new Map<string, NamespaceIdentity>(
  ['n1', 'n2', 'n3'].map((name) => [name, { attempted: true }]),
);

function recognition(...candidates: KernelState[]): Recognition {
  return { candidates, identities, isClaimed: () => false, isWhole: false };
}

const processes = createProcesses({ timeoutMs: 20_000 });

async function carryOut(have: KernelState, want: KernelState): Promise<void> {
  const steps = plan(have, want);
  const { failure } = await run(processes, { steps, expected: devicesExpected(have, steps), reads: [] });
  if (failure !== null) throw failure;
}

/** What the kernel has of two networks, compared with one of them; sysctls that neither asks for are not looked at. */
async function differs(want: KernelState, other: KernelState): Promise<unknown> {
  const observed = await observe(processes, recognition(want, other));
  for (const id of observed.sysctls.keys()) if (!want.sysctls.has(id)) observed.sysctls.delete(id);
  for (const sysctl of observed.sysctls.values()) sysctl.value = sysctl.value.replaceAll('\t', ' ');
  return essence(observed);
}

/**
 * What the kernel refuses, whatever the plan, is left out: of links of one end that stand on something, all are but
 * macvlans that are not alone on a bridge that is up and takes as long packets.
 */
function makeable(intent: Intent): Intent {
  const seen = new Set<string>();
  const isMakeable = ({ kind, intent: link }: AnyPlaced): boolean => {
    if (kind !== 'link' || link.type === 'veth' || link.type === 'tap') return true;
    if (link.type === 'vxlan') {
      const { namespace, id, remote, device } = link;
      const identity = `${namespace} ${id} ${familyOf(remote ?? '')}`;
      const isAnother = !seen.has(identity);
      seen.add(identity);
      return device === null && isAnother;
    }
    const bridge = [...intent.resources.values()].find(
      (each) =>
        each.kind === 'bridge' &&
        each.intent.interface === link.parent &&
        each.intent.namespace === link.parentNamespace,
    );
    if (bridge?.kind !== 'bridge') return false;
    return link.mode !== 'passthru' && bridge.intent.up && bridge.intent.mtu >= link.mtu;
  };
  return {
    ...intent,
    resources: new Map([...intent.resources].filter(([, placed]) => isMakeable(placed))),
  };
}

/** Without what the kernel needs cls_matchall and act_police for. */
function unpoliced(placed: AnyPlaced): AnyPlaced {
  if (placed.kind !== 'link' || placed.intent.type === 'veth') return placed;
  const { rate, ...intent } = placed.intent;
  const egressKbit = rate?.egressKbit;
  return { ...placed, intent: egressKbit === undefined ? intent : { ...intent, rate: { egressKbit } } };
}

describe('plan, on the real kernel', () => {
  it('turns any network into any other, and back into nothing', async () => {
    const isAble = (await policingLacks()) === null;
    const networks = intents.map(makeable).map((intent) => ({
      ...intent,
      resources: isAble
        ? intent.resources
        : new Map([...intent.resources].map(([id, placed]) => [id, unpoliced(placed)])),
    }));
    const before = await kernelState();
    const changes = async (a: Intent, b: Intent): Promise<void> => {
      const [none, first, second] = [compile(nothing), compile(a), compile(b)];
      try {
        await carryOut(none, first);
        expect(await differs(first, second)).toEqual(essence(first));
        await carryOut(first, second);
        expect(await differs(second, first)).toEqual(essence(second));
        expect(plan(second, second)).toEqual([]);
      } finally {
        const found = await observe(processes, recognition(first, second));
        await carryOut(found, none);
      }
      expect(await leftBehind(before)).toEqual([]);
    };
    await fc.assert(fc.asyncProperty(networks, networks, changes), { numRuns: RUNS, endOnFailure: true });
  }, 120_000);
});
