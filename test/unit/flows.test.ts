import { describe, expect, it } from 'vitest';
import { linesForRanges, parseFlows, type SentTo } from '../../src/kernel/flows.ts';

const flow = (to: string, port: number, by: string, from = '203.0.113.10'): string =>
  `udp      17 29 src=${from} dst=${to} sport=40001 dport=${port} [UNREPLIED] src=${by} dst=${from} sport=53 dport=40001 mark=0 use=1`;

const HOST = '198.51.100.2';

describe('flows to a range of ports', () => {
  const range: SentTo = { family: 4, address: null, ports: { first: 5000, last: 5019 } };

  it('are known by where they were sent to, counted or not', () => {
    const counted = flow(HOST, 5010, '10.1.1.1')
      .replace(' [UNREPLIED]', ' packets=3 bytes=84')
      .replace('mark', '[ASSURED] packets=1 bytes=28 mark');
    expect(parseFlows(`${flow(HOST, 5010, '10.1.1.1')}\n${counted}\n`)).toEqual(
      Array.from({ length: 2 }, () => ({ address: HOST, port: 5010, answeredBy: '10.1.1.1' })),
    );
    expect(parseFlows('')).toEqual([]);
  });

  it('are deleted by those of its ports that are in use, each once', () => {
    const flows = parseFlows(
      [
        flow(HOST, 5010, HOST),
        flow(HOST, 5010, HOST, '203.0.113.11'),
        flow(HOST, 53, HOST),
        flow('10.1.1.3', 5011, '10.1.1.3'),
      ].join('\n'),
    );
    const line = (to: string, port: number): string =>
      `-D -f ipv4 -p udp --orig-dst ${to} --orig-port-dst ${port}`;
    expect(linesForRanges(flows, 4, [range])).toEqual([line(HOST, 5010), line('10.1.1.3', 5011)]);
    expect(linesForRanges(flows, 4, [{ ...range, address: HOST }])).toEqual([line(HOST, 5010)]);
  });

  it('go by one line if all that their target answers is meant', () => {
    const meant = [5000, 5001, 5019].map((port) => flow(HOST, port, '10.1.1.1')).join('\n');
    expect(linesForRanges(parseFlows(meant), 4, [range])).toEqual(['-D -f ipv4 -p udp --reply-src 10.1.1.1']);
    const others = `${meant}\n${flow(HOST, 6000, '10.1.1.1')}`;
    expect(linesForRanges(parseFlows(others), 4, [range])).toHaveLength(3);
  });
});
