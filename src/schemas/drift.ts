import { Type, type Static } from 'typebox';
import { Difference, Reference } from './common.ts';
import { nullable, ref, strictObject } from './object.ts';

const DriftItem = strictObject(
  {
    resource: ref(Reference),
    state: Type.Enum(['drifted', 'failed'], {
      description: 'drifted: it can be mended. failed: it can’t be now, and `message` says why.',
    }),
    message: nullable(Type.String()),
    differences: Type.Array(ref(Difference)),
  },
  { $id: 'DriftItem', description: 'a resource that the kernel does not have as it was asked for' },
);

const UnrecordedItem = strictObject(
  {
    namespace: Type.String(),
    type: Type.Enum(['interface', 'rule']),
    name: Type.String({ description: 'the interface, or the rule as iptables-save prints it' }),
  },
  { $id: 'UnrecordedItem', description: 'something that bears netnsd’s mark and is not recorded' },
);

export const Drift = strictObject(
  {
    items: Type.Array(ref(DriftItem)),
    unrecorded: Type.Array(ref(UnrecordedItem), {
      description:
        'what bears netnsd’s marks and is not recorded: left by another store, or made by somebody else; it is left alone',
    }),
    resources: Type.Integer({ minimum: 0, description: 'how many were looked at' }),
    startedAt: Type.String({ format: 'date-time' }),
    durationMs: Type.Number({ minimum: 0 }),
    processes: Type.Integer({ minimum: 0, description: 'how many processes it took to look' }),
  },
  { $id: 'Drift', description: 'where the kernel differs from what was asked, now' },
);
export type Drift = Static<typeof Drift>;

const LastSweep = strictObject(
  {
    startedAt: Type.String({ format: 'date-time' }),
    durationMs: Type.Number({ minimum: 0 }),
    processes: Type.Integer({ minimum: 0 }),
    resources: Type.Integer({ minimum: 0, description: 'how many were looked at' }),
    drifted: Type.Integer({ minimum: 0, description: 'how many were not as asked for' }),
  },
  { $id: 'LastSweep', description: 'the last look at everything' },
);

export const Reconciling = strictObject(
  {
    mode: Type.Enum(['repair', 'observe', 'off']),
    intervalSeconds: Type.Number({ description: 'between two looks at everything' }),
    settled: Type.Boolean({
      description: 'whether everything was put in order once since netnsd was started',
    }),
    events: Type.Enum(['watching', 'restarting', 'off'], {
      description:
        'whether the kernel tells of what others change; what it does not tell is found by looking',
    }),
    firewallEvents: Type.Boolean({ description: 'the same of rules: legacy iptables tells nothing' }),
    lastSweep: nullable(ref(LastSweep)),
  },
  { $id: 'Reconciling', description: 'how what was asked for is kept so' },
);

export const driftSchemas = [DriftItem, UnrecordedItem, Drift, LastSweep, Reconciling];
