import { describe, expect, it } from 'vitest';
import { CommandFailed } from '../../src/kernel/errors.ts';
import { problemOfCommand } from '../../src/services/problem.ts';

it('names the queueing discipline that a kernel lacks', () => {
  const command = 'tc -n blue qdisc add dev a root handle 5173: tbf rate 1000kbit burst 3028 latency 50ms';
  const stderr = 'Error: Specified qdisc kind is unknown.';
  const { slug, message } = problemOfCommand(new CommandFailed(command, 2, stderr));
  expect([slug, message]).toEqual([
    'kernel-unsupported',
    expect.stringMatching(/^the kernel lacks sch_tbf, .*unknown/),
  ]);
});

describe('what a kernel or a machine says that lacks a type of link', () => {
  it.each([
    [
      'ip link add link p0 name m1 group 20851 type macvlan mode bridge',
      'Error: Unknown device type.',
      'macvlan',
    ],
    ['ip link add name x1 group 20851 type vxlan id 1 dstport 4789', 'Error: Unknown device type.', 'vxlan'],
    [
      'ip link add name x1 group 20851 type vxlan id 1',
      'RTNETLINK answers: Operation not supported',
      'vxlan',
    ],
    ['ip tuntap add dev nt0123456789ab mode tap', 'open: No such file or directory', 'tap'],
    ['ip -n blue tuntap add dev nt0123456789ab mode tap', 'open: No such device', 'tap'],
  ])('%s: %s', (command, stderr, type) => {
    const { slug, message } = problemOfCommand(new CommandFailed(command, 2, stderr));
    expect([slug, message]).toEqual([
      'kernel-unsupported',
      `the kernel lacks interfaces of type ${type}: \`${command}\` said: ${stderr}`,
    ]);
  });

  it.each([
    ['tc qdisc add dev m1 ingress', 'Error: Specified qdisc kind is unknown.', 'sch_ingress'],
    [`tc -n blue ${FILTER}`, 'Error: TC classifier not found.', 'cls_matchall'],
    [`tc ${FILTER}`, 'Error: Failed to load TC action module.', 'act_police'],
  ])('%s: %s', (command, stderr, lacking) => {
    const { slug, message } = problemOfCommand(new CommandFailed(command, 2, stderr));
    expect(slug).toBe('kernel-unsupported');
    expect(message).toMatch(new RegExp(`^the kernel lacks ${lacking}, which policing needs beside .*: \``));
    for (const feature of ['cls_matchall', 'act_police']) expect(message).toContain(feature);
  });
});

const FILTER =
  'filter add dev m1 ingress protocol all pref 5173 handle 0x8 matchall action police rate 8kbit';

describe('a place for filters that was looked at once more, and is none of netnsd', () => {
  it('is told as somebody else’s', () => {
    const said = 'Error: Exclusivity flag on, cannot modify.';
    expect(problemOfCommand(new CommandFailed('tc -n b qdisc add dev m1 ingress', 2, said)).slug).toBe(
      'foreign-object',
    );
  });
});
