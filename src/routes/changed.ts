import { Type } from 'typebox';
import type { Kind } from '../schemas/common.ts';
import { ref } from '../schemas/object.ts';
import { DryRunAnswer } from '../schemas/operation.ts';
import { answer, answerByExamples, asExamples, type DescribedAnswer } from './answers.ts';
import { examplesOf, type Collection } from './collection-kind.ts';
import { dryRunExample } from './examples.ts';

/** What a dry run answers. */
export const dryRunAnswer = answer(ref(DryRunAnswer), 'with `dryRun`: what would be done', dryRunExample);

/** The resource as it is after a change. */
export function changed<K extends Kind>(
  collection: Collection<K>,
  description: string,
  ...more: ('Location' | 'Idempotent-Replayed')[]
): DescribedAnswer {
  return answerByExamples(ref(collection.schemas.resource), description, examplesOf(collection, 'resource'), [
    'ETag',
    'Operation',
    ...more,
  ]);
}

/** The changed resource, or what a dry run tells. */
export function changedOrDry<K extends Kind>(
  collection: Collection<K>,
  description: string,
): DescribedAnswer {
  const { schemas } = collection;
  return {
    ...changed(collection, `${description}; or, with \`dryRun\`, what would be done`),
    content: {
      'application/json': {
        schema: Type.Union([ref(schemas.resource), ref(DryRunAnswer)]),
        examples: {
          ...asExamples(examplesOf(collection, 'resource')),
          dryRun: { summary: 'with dryRun', value: dryRunExample },
        },
      },
    },
  };
}
