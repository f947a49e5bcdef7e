import { Type, type Static } from 'typebox';
import { kindNames } from './common.ts';
import { nullable, strictObject } from './object.ts';

export const DryRunAnswer = strictObject(
  {
    commands: Type.Array(Type.String(), { description: 'what would be run, as a person would type it' }),
    changes: Type.Array(
      strictObject({
        action: Type.Enum(['create', 'adopt', 'change', 'delete']),
        kind: Type.Enum([...kindNames]),
        name: Type.String(),
      }),
    ),
  },
  { $id: 'DryRun', description: 'what a change would do' },
);

const RanCommand = strictObject({
  command: Type.String({ description: 'as a person would type it' }),
  exitCode: nullable(Type.Integer({ description: 'null for what never told' })),
  stderr: Type.String(),
});

export const Operation = strictObject(
  {
    id: Type.String(),
    action: Type.Enum(['create', 'replace', 'patch', 'delete', 'repair', 'reconcile'], {
      description:
        'repair: netnsd mended what had drifted. reconcile: somebody asked it to look at everything.',
    }),
    kind: nullable(
      Type.Enum([...kindNames], { description: 'null for what is about more than one resource' }),
    ),
    name: nullable(Type.String()),
    actor: Type.String({ description: 'who asked: the unix socket, an address, or netnsd itself' }),
    requestId: Type.String(),
    state: Type.Enum(['running', 'succeeded', 'unchanged', 'refused', 'failed'], {
      description:
        'unchanged: all was so already. refused: it could not be, and nothing was tried. failed: it was tried and undone.',
    }),
    undone: Type.Boolean({
      description:
        'false while something that a failed operation has left in the kernel is still to be taken away',
    }),
    problem: nullable(Type.Unknown({ description: 'slug, detail and what else the problem told' })),
    commands: Type.Array(RanCommand),
    processes: Type.Integer({
      description: 'how many processes it took, those of changes that went together included',
    }),
    startedAt: Type.String({ format: 'date-time' }),
    durationMs: nullable(Type.Number({ description: 'in milliseconds, from its arrival to its answer' })),
  },
  { $id: 'Operation', description: 'a change that was asked for, as the journal has it' },
);
export type Operation = Static<typeof Operation>;
