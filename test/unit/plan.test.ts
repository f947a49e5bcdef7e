import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compile, plan } from '../../src/plan/plan.ts';
import type { Intent } from '../../src/plan/intent.ts';
import { schedule } from '../../src/kernel/schedule.ts';
import { intents, nothing, sysctlDefaults } from '../support/intents.ts';
import { KernelModel, essence } from '../support/model.ts';

const RUNS = 2_000;

function modelOf(intent: Intent): KernelModel {
  const model = new KernelModel();
  for (const [id, value] of sysctlDefaults) {
    const [namespace = '', key = ''] = id.split(' ');
    model.setDefault(namespace, key, value);
  }
  model.apply(plan(compile(nothing), compile(intent)));
  return model;
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
});
