import { describe, expect, test } from 'vitest';
import { CommandFailed } from '../../src/kernel/errors.ts';
import { parsePing, ping } from '../../src/kernel/ping.ts';
import type { Ended, Processes } from '../../src/kernel/processes.ts';

// As ping of iputils 20221126 prints it with -q.
const answered = `PING 10.1.1.1 (10.1.1.1) 56(84) bytes of data.

--- 10.1.1.1 ping statistics ---
3 packets transmitted, 3 received, 0% packet loss, time 405ms
rtt min/avg/max/mdev = 0.052/0.109/0.216/0.075 ms
`;
const unanswered = `PING 10.1.1.77 (10.1.1.77) 56(84) bytes of data.

--- 10.1.1.77 ping statistics ---
2 packets transmitted, 0 received, 100% packet loss, time 204ms

`;

describe('parsePing', () => {
  test('gives counts and round trips in milliseconds', () => {
    const rtt = { min: 0.052, avg: 0.109, max: 0.216, mdev: 0.075 };
    expect(parsePing(answered)).toEqual({ transmitted: 3, received: 3, lossPercent: 0, rtt });
  });

  test('gives no round trip if nothing came back', () => {
    expect(parsePing(unanswered)).toEqual({ transmitted: 2, received: 0, lossPercent: 100, rtt: null });
  });

  test('is not misled by errors and duplicates in the summary', () => {
    const refused = unanswered.replace('0 received,', '0 received, +2 errors,');
    expect(parsePing(refused)).toMatchObject({ transmitted: 2, received: 0, lossPercent: 100 });
    const doubled = answered
      .replace('3 received,', '2 received, +1 duplicates,')
      .replace(' ms\n', ' ms, pipe 3\n');
    expect(parsePing(doubled)).toMatchObject({
      transmitted: 3,
      received: 2,
      lossPercent: 33.3,
      rtt: { max: 0.216 },
    });
  });

  test.each(['', 'PING 10.1.1.1 (10.1.1.1) 56(84) bytes of data.\n'])(
    'gives null without a summary: %j',
    (text) => {
      expect(parsePing(text)).toBeNull();
    },
  );
});

describe('ping', () => {
  const request = { to: '10.2.1.77', count: 4, timeoutMs: 500 };

  test.each(['Network is unreachable', 'No route to host', 'Invalid argument'])(
    'counts as unanswered what has no way out (%s)',
    async (why) => {
      const { processes } = fake({ stderr: `ping: connect: ${why}\n`, exitCode: 2 });
      const answer = await ping(processes, 'host', request);
      expect(answer).toEqual({ transmitted: 4, received: 0, lossPercent: 100, rtt: null });
    },
  );

  test('hands over an address after --, its family, and seconds', async () => {
    const { processes, lines } = fake({ stdout: answered });
    await ping(processes, 'host', request);
    await ping(processes, '4026532598', { to: 'fd00::1', count: 1, timeoutMs: 10 });
    expect(lines).toEqual([
      'ping -n -q -4 -c 4 -i 0.2 -W 0.5 -- 10.2.1.77',
      'nsenter --net=/run/netns/4026532598 -- ping -n -q -6 -c 1 -i 0.2 -W 0.01 -- fd00::1',
    ]);
  });

  test.each([
    [
      'ping: Do you want to ping broadcast? Then -b. If not, check your local firewall rules\n',
      2,
      'unprocessable',
    ],
    ['ping: socket: Operation not permitted\n', 2, 'permission'],
    ['nsenter: failed to execute ping: No such file or directory\n', 127, 'kernel-unsupported'],
    ['spawn ping ENOENT', null, 'kernel-unsupported'],
  ])('is refused for %j', async (stderr, exitCode, refusal) => {
    const failure = await failureOf(ping(fake({ stderr, exitCode }).processes, 'host', request));
    expect(failure.failure).toEqual({ cause: 'refusal', refusal });
  });

  test('tells a namespace that went away from an answer that did not come, which both end with 1', async () => {
    const stderr = 'nsenter: cannot open /run/netns/blue: No such file or directory\n';
    const failure = await failureOf(ping(fake({ stderr, exitCode: 1 }).processes, 'blue', request));
    expect(failure.failure).toEqual({ cause: 'assumption' });
  });
});

async function failureOf(promise: Promise<unknown>): Promise<CommandFailed> {
  const failure = await promise.catch((error: unknown) => error);
  if (failure instanceof CommandFailed) return failure;
  throw new Error('it did not fail as a command does', { cause: failure });
}

/** Starts nothing: every process ends as told. */
function fake(ended: Partial<Ended>): { processes: Processes; lines: string[] } {
  const lines: string[] = [];
  const processes: Processes = {
    run: async (file, args) => {
      lines.push([file, ...args].join(' '));
      return { stdout: '', stderr: '', exitCode: 0, timedOut: false, ...ended };
    },
    converse: () => {
      throw new Error('not needed here');
    },
    follow: () => {
      throw new Error('not needed here');
    },
    timeoutMs: 1000,
    remainingMs: () => 1000,
    within: () => processes,
    started: () => lines.length,
    counter: () => processes,
  };
  return { processes, lines };
}
