import { Type } from 'typebox';
import { nullable } from './object.ts';

/** What the kernel gives a veth (DEFAULT_TX_QUEUE_LEN in net/core/dev.c). */
export const DEFAULT_TX_QUEUE_LENGTH = 1000;

/** Further fields of each end of a link. What is left out, or null, is not netnsd's to say, and is left alone. */
export const endOptionFields = {
  txQueueLength: Type.Optional(
    nullable(
      Type.Integer({
        minimum: 0,
        maximum: 1_000_000,
        description: 'the length of the transmit queue, in packets; null leaves it to the kernel (1000)',
      }),
    ),
  ),
  isolatedPort: Type.Optional(
    Type.Boolean({
      default: false,
      description:
        'of a port of a bridge: it exchanges nothing with other isolated ports of that bridge (bridge(8), `isolated`)',
    }),
  ),
  hairpin: Type.Optional(
    Type.Boolean({
      default: false,
      description: 'of a port of a bridge: what comes in by it may go out by it again (bridge(8), `hairpin`)',
    }),
  ),
};

/** The same in an answer. */
export const endOptionAnswerFields = {
  txQueueLength: nullable(Type.Integer()),
  isolatedPort: Type.Boolean(),
  hairpin: Type.Boolean(),
};

/** The intent of `endOptionFields`. Only what was asked for is there, so that an older intent is one as well. */
export interface EndOptions {
  txQueueLength?: number;
  isolatedPort?: true;
  hairpin?: true;
}

/** The options of an end as a client sees them: all of them. */
export function shownOptions({ txQueueLength, isolatedPort, hairpin }: EndOptions): object {
  return {
    txQueueLength: txQueueLength ?? null,
    isolatedPort: isolatedPort ?? false,
    hairpin: hairpin ?? false,
  };
}

/** What the kernel has of them. */
export interface ObservedOptions {
  txQueueLength: number;
  isolatedPort: boolean;
  hairpin: boolean;
}
