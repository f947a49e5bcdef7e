import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { KernelState } from '../../src/kernel/state.ts';
import { withForeign } from '../../src/plan/marks.ts';
import { compile, plan } from '../../src/plan/plan.ts';
import type { Intent } from '../../src/plan/intent.ts';
import type { Adoption } from '../../src/schemas/adoption.ts';
import { schedule } from '../../src/kernel/schedule.ts';
import { moments, unguarded } from '../support/guards.ts';
import { intents, nothing, sysctlDefaults } from '../support/intents.ts';
import { KernelModel, essence } from '../support/model.ts';

const RUNS = 2_000;

function modelOf(intent: Intent): KernelModel {
  const model = modelFrom();
  model.apply(plan(compile(nothing), compile(intent)));
  return model;
}

function modelFrom(state?: KernelState): KernelModel {
  const model = new KernelModel(state);
  for (const [id, value] of sysctlDefaults) {
    const [namespace = '', key = ''] = id.split(' ');
    model.setDefault(namespace, key, value);
  }
  return model;
}

/** What is found tells nothing of what stood in a sysctl first; that is in the store. */
function asFound(state: KernelState, sides: readonly KernelState[]): KernelState {
  const found = structuredClone(state);
  for (const [id, sysctl] of found.sysctls)
    sysctl.before = sides.flatMap(({ sysctls }) => sysctls.get(id)?.before ?? [])[0] ?? null;
  return found;
}

const MARKING: ReadonlySet<string> = new Set(['device.group', 'route.protocol']);

/** Everything in the state as somebody else's. */
function adoptionsOf({ devices }: KernelState): Adoption[] {
  return [...devices.values()].map(({ key, serves, routes }) => {
    const foreign = routes.map((route) => ({ route, protocol: 'static' }));
    return { ...serves, inode: null, devices: { [key]: { index: 0, group: 'default', routes: foreign } } };
  });
}

describe('plan', () => {
  it('makes what is intended out of nothing', () => {
    expect.hasAssertions();
    fc.assert(
      fc.property(intents, (intent) => {
        expect(essence(modelOf(intent).state)).toEqual(essence(compile(intent)));
      }),
      { numRuns: RUNS },
    );
  });

  it('turns any network into any other', () => {
    expect.hasAssertions();
    fc.assert(
      fc.property(intents, intents, (a, b) => {
        const model = modelOf(a);
        model.apply(plan(compile(a), compile(b)));
        expect(essence(model.state)).toEqual(essence(compile(b)));
      }),
      { numRuns: RUNS },
    );
  });

  it('finds what is there by itself as well as by what was applied', () => {
    expect.hasAssertions();
    fc.assert(
      fc.property(intents, intents, (a, b) => {
        const model = modelOf(a);
        model.apply(plan(structuredClone(model.state), compile(b)));
        // A sysctl that is found has no value from before; only what was applied knows it.
        expect({ ...(essence(model.state) as object), sysctls: [] }).toEqual({
          ...(essence(compile(b)) as object),
          sysctls: [],
        });
      }),
      { numRuns: RUNS },
    );
  });

  it('has nothing to do where nothing differs', () => {
    expect.hasAssertions();
    fc.assert(
      fc.property(intents, (intent) => {
        expect(plan(compile(intent), compile(intent))).toEqual([]);
      }),
      { numRuns: RUNS },
    );
  });

  it('leaves nothing when everything is removed', () => {
    expect.hasAssertions();
    fc.assert(
      fc.property(intents, (intent) => {
        const model = modelOf(intent);
        model.apply(plan(compile(intent), compile(nothing)));
        expect(essence(model.state)).toEqual(essence(compile(nothing)));
      }),
      { numRuns: RUNS },
    );
  });

  it('marks what is adopted and gives its marks back, and does nothing else to it', () => {
    expect.hasAssertions();
    fc.assert(
      fc.property(intents, (intent) => {
        const ours = compile(intent);
        const found = withForeign(ours, adoptionsOf(ours));
        const model = new KernelModel(found);
        const marking = plan(found, ours);
        expect(marking.filter(({ step }) => !MARKING.has(step))).toEqual([]);
        model.apply(marking);
        expect(essence(model.state)).toEqual(essence(ours));
        const back = plan(ours, found);
        expect(back.filter(({ step }) => !MARKING.has(step))).toEqual([]);
        model.apply(back);
        expect(essence(model.state)).toEqual(essence(found));
      }),
      { numRuns: RUNS },
    );
  });

  it('neither makes nor deletes what is to be somebody else’s, whatever there is of it', () => {
    expect.hasAssertions();
    fc.assert(
      fc.property(intents, fc.nat(), (intent, seed) => {
        const ours = compile(intent);
        const found = withForeign(ours, adoptionsOf(ours));
        const left = [...found.devices].filter((_entry, at) => (seed >> (at % 16)) % 2 === 0);
        const steps = plan({ ...ours, devices: new Map(left) }, found);
        expect(steps.filter(({ step }) => !MARKING.has(step))).toEqual([]);
      }),
      { numRuns: RUNS },
    );
  });

  it('keeps the order of a plan when it is split into stages, whichever invocation of a stage is first', () => {
    expect.hasAssertions();
    fc.assert(
      fc.property(intents, intents, (a, b) => {
        const steps = plan(compile(a), compile(b));
        for (const order of [(x: unknown[]) => x, (x: unknown[]) => x.toReversed()]) {
          const model = modelOf(a);
          for (const stage of schedule(steps))
            for (const { steps: part } of order(stage) as typeof stage)
              model.apply(part.map(({ step }) => step));
          expect(essence(model.state)).toEqual(essence(compile(b)));
        }
      }),
      { numRuns: RUNS },
    );
  });

  it('leaves nothing unguarded at any moment, nor does undoing it from there', () => {
    expect.hasAssertions();
    fc.assert(
      fc.property(intents, intents, fc.infiniteStream(fc.nat()), (a, b, drawn) => {
        const pick = (below: number): number => (drawn.next().value ?? 0) % below;
        const sides = [compile(a), compile(b)];
        const model = modelOf(a);
        const states = [structuredClone(model.state)];
        for (const moment of moments(plan(compile(a), compile(b)), pick)) {
          model.apply(moment);
          expect(unguarded(model.state, sides)).toEqual([]);
          states.push(structuredClone(model.state));
        }
        const left = states[pick(states.length)] ?? model.state;
        const undoing = modelFrom(left);
        for (const moment of moments(plan(asFound(left, sides), compile(a)), pick)) {
          undoing.apply(moment);
          expect(unguarded(undoing.state, sides)).toEqual([]);
        }
      }),
      { numRuns: RUNS / 4 },
    );
  });
});
