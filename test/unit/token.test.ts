import { describe, expect, test } from 'vitest';
import { UnsafeTokenError, render, token } from '../../src/kernel/render.ts';
import { sysctlFile } from '../../src/kernel/sysctl.ts';

describe('the last gate before the grammar of a tool', () => {
  test.each([
    ['a newline, which would add a line to the batch', 'veth00\nlink delete dev eth0'],
    ['a carriage return', 'veth00\r'],
    ['a NUL', 'veth00\0'],
    ['a space, which would add a word', 'veth00 up'],
    ['a tab', 'veth00\tup'],
    ['a leading hyphen, which would be an option', '-foo'],
    ['a long option', '--help'],
    ['nothing at all', ''],
    ['a wildcard of iptables', 'eth+'],
    ['a negation of iptables', '!eth0'],
    ['a comment of the batch', '#eth0'],
    ['a quote', 'eth"0'],
    ['a backslash', 'eth\\0'],
    ['a substitution of the shell', '$(reboot)'],
    ['a separator of the shell', 'eth0;reboot'],
    ['a letter beyond ASCII', 'vethä'],
    ['a fullwidth digit', 'veth０'],
    ['a right-to-left mark', 'veth\u200f00'],
  ])('refuses %s', (_what, text) => {
    expect(() => token(text)).toThrow(UnsafeTokenError);
  });

  test.each([
    'veth00',
    '4026532598',
    '10.1.1.3/24',
    'fd00::3/64',
    '::/0',
    '02:00:5e:10:00:01',
    '/run/netns/a-b',
    'br0.5@x',
    '_x',
    '%d',
  ])('lets %s through as it is', (text) => {
    expect(token(text)).toBe(text);
  });

  test('writes a number as digits', () => {
    expect(token(1500)).toBe('1500');
  });

  test('says what it refused, and that it could be read as more', () => {
    expect(() => token('a\nb')).toThrow(
      'refused to hand "a\\nb" to a tool: it could be read as more than a value',
    );
  });

  test('a step with such a name is not written at all', () => {
    const device = { namespace: 'host', name: 'x\naddress flush dev eth0' };
    expect(() => render({ serves: { kind: 'link', name: 'x' }, step: 'device.up', device })).toThrow(
      UnsafeTokenError,
    );
  });

  test('nor one in a namespace whose path is another', () => {
    const step = {
      serves: { kind: 'namespace', name: 'x' },
      step: 'namespace.delete',
      namespace: '-all',
    } as const;
    expect(() => render(step)).toThrow(UnsafeTokenError);
  });
});

describe('the file of a sysctl', () => {
  test.each([
    'all',
    'default',
    'net',
    'net.',
    'net..ipv4',
    'kernel.hostname',
    'net/ipv4/ip_forward',
    'net.../../kernel/hostname',
    'net.ipv4.\nx',
    '../net.x',
    'xnet.ipv4.ip_forward',
  ])('is refused for %j', (key) => {
    expect(() => sysctlFile(key)).toThrow(UnsafeTokenError);
  });

  test('is below net', () => {
    expect(sysctlFile('net.ipv4.ip_forward')).toBe('net/ipv4/ip_forward');
  });
});
