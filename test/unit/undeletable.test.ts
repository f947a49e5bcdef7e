import { describe, expect, it } from 'vitest';
import { render } from '../../src/kernel/render.ts';
import { emptyState, firewallKey, ruleKey, type KernelState, type Rule } from '../../src/kernel/state.ts';
import type { Step } from '../../src/kernel/step.ts';
import { deletingByNumber } from '../../src/plan/undeletable.ts';

const serves = { kind: 'nat', name: 'www' } as const;
const place = { namespace: 'blue', family: 4 } as const;

function ruleOf(chain: string, number: number): Rule {
  return {
    serves,
    table: 'nat',
    chain,
    spec: '-j ACCEPT',
    comment: `netnsd:nat/www:${chain}${number}`,
    number,
  };
}

/** With a chain of netnsd's, and rules in it and in a built-in one. */
function found(rules: readonly Rule[]): KernelState {
  const state = emptyState();
  const chain = { table: 'nat' as const, name: 'NETNSD-DNAT', fixed: [], strays: 0 };
  state.firewalls.set(firewallKey(place.namespace, place.family), {
    ...place,
    chains: new Map([['nat NETNSD-DNAT', chain]]),
    rules: new Map(rules.map((rule) => [ruleKey(rule), rule])),
  });
  return state;
}

const rules = [
  ruleOf('NETNSD-DNAT', 2),
  ruleOf('PREROUTING', 1),
  ruleOf('NETNSD-DNAT', 4),
  ruleOf('NETNSD-DNAT', 3),
];
const deletes: Step[] = rules.map((rule) => ({ step: 'rule.delete', serves, ...place, rule }));
const failed = { step: deletes[0] as Step, command: { exitCode: 1 } };

function numbersOf(steps: readonly Step[]): (number | undefined)[] {
  return steps.map((step) => (step.step === 'rule.delete' ? step.number : undefined));
}

describe('rules that could not be deleted by what they say', () => {
  it('are deleted by their numbers, the last one first', () => {
    const numbered = deletingByNumber(deletes, found(rules), [failed]);
    expect(numbersOf(numbered)).toEqual([4, undefined, 3, 2]);
    expect(numbered.map((step) => render(step))).toMatchObject([
      { lines: ['-D NETNSD-DNAT 4'] },
      { lines: [expect.stringContaining('-D PREROUTING -j ACCEPT')] },
      { lines: ['-D NETNSD-DNAT 3'] },
      { lines: ['-D NETNSD-DNAT 2'] },
    ]);
  });

  it('are not while none has failed, or only some of another namespace or family', () => {
    const done = { ...failed, command: { exitCode: 0 } };
    const elsewhere = { ...failed, step: { ...failed.step, namespace: 'red' } as Step };
    const other = { ...failed, step: { ...failed.step, family: 6 } as Step };
    for (const ran of [[], [done], [elsewhere], [other]])
      expect(deletingByNumber(deletes, found(rules), ran)).toEqual(deletes);
  });

  it('keep their places among the other steps', () => {
    const add: Step = { step: 'rule.add', serves, ...place, rule: ruleOf('NETNSD-DNAT', 5) };
    const [first, , second] = deletes as [Step, Step, Step];
    const steps = deletingByNumber([first, add, second], found(rules), [failed]);
    expect(steps.map(({ step }) => step)).toEqual(['rule.delete', 'rule.add', 'rule.delete']);
    expect(numbersOf(steps)).toEqual([4, undefined, 2]);
  });
});
