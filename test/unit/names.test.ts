import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, test } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { NameFiles } from '../../src/kernel/name-files.ts';
import { hostsText, namedNetwork, resolvConfText, type NamedEnd } from '../../src/plan/names.ts';
import { NAMES_MARK } from '../../src/schemas/names.ts';
import { temporaryDirectory } from '../support/server.ts';

const bridgeIntent = {
  interface: 'br00',
  namespace: 'host',
  addresses: [],
  routes: [],
  stp: false,
  ageingSeconds: 300,
  reserved: [],
  firewall: null,
  mtu: 1500,
  mac: null,
  up: true,
  labels: {},
};

function network(
  ends: Partial<NamedEnd>[],
  { bridge = 'br00', subnets = ['10.1.1.0/24', 'fd00:1::/64'], dns = [] as string[] } = {},
) {
  const found = namedNetwork(
    {
      kind: 'bridge',
      name: bridge,
      intent: { ...bridgeIntent, name: bridge, subnets, dns },
      assigned: { mac: '', subnets: subnets.map((subnet) => ({ asked: subnet, subnet, gateway: '' })) },
    },
    ends.map((end) => ({ bridge, namespace: 'blue', link: 'v-blue', addresses: ['10.1.1.2'], ...end })),
  );
  if (found === null) throw new Error('the bridge has no subnets');
  return found;
}

/** The lines of a text but for the comments and what is the same everywhere. */
function lines(text: string | null): string[] {
  return (text ?? '').split('\n').filter((line) => !/^(#|$|127\.|::1\t|ff02:)/.test(line));
}

describe('hosts', () => {
  it('name no namespace whose name another has in another case, but their links', () => {
    const ends = [
      { namespace: 'Web', link: 'web', addresses: ['10.1.1.2'] },
      { namespace: 'web', link: 'v-web', addresses: ['10.1.1.3'] },
      { namespace: 'blue', link: 'blue', addresses: ['10.1.1.4'] },
      { namespace: 'blue', link: 'v-blue', addresses: ['10.1.1.5'] },
    ];
    expect(lines(hostsText([network(ends)]))).toEqual([
      '10.1.1.4\tblue',
      '10.1.1.5\tblue v-blue',
      '10.1.1.3\tv-web',
    ]);
  });

  it('have the mark, this very namespace, and who is on the bridges', () => {
    const text = hostsText([
      network([
        { namespace: 'red', link: 'v-red', addresses: ['10.1.1.3', 'fd00:1::3', '192.0.2.1'] },
        { namespace: 'blue' },
      ]),
    ]);
    expect(text.split('\n')).toEqual([
      expect.stringMatching(new RegExp(`^${NAMES_MARK} `)),
      '127.0.0.1\tlocalhost',
      '::1\tlocalhost ip6-localhost ip6-loopback',
      'ff02::1\tip6-allnodes',
      'ff02::2\tip6-allrouters',
      '',
      '# br00',
      '10.1.1.2\tblue v-blue',
      '10.1.1.3\tred v-red',
      'fd00:1::3\tred v-red',
      '',
    ]);
  });

  test.each<[string, Partial<NamedEnd>[], string[]]>([
    [
      'the name of a link that is one of a namespace',
      [{ link: 'red' }, { namespace: 'red', link: 'v-red', addresses: ['10.1.1.3'] }],
      ['10.1.1.2\tblue', '10.1.1.3\tred v-red'],
    ],
    ['the name of a link that is its namespace’s', [{ link: 'blue' }], ['10.1.1.2\tblue']],
    ['the same but for its case', [{ link: 'Blue' }], ['10.1.1.2\tblue']],
    [
      'the name of a link of which both ends are meant',
      [{}, { namespace: 'red', addresses: ['10.1.1.3'] }],
      ['10.1.1.2\tblue', '10.1.1.3\tred'],
    ],
    ['what is no name of a host', [{ link: 'v_blue' }], ['10.1.1.2\tblue']],
    ['what reads as an address', [{ link: '10.1.1.9' }], ['10.1.1.2\tblue']],
    ['what means this very namespace', [{ namespace: 'localhost' }], ['10.1.1.2\tv-blue']],
    ['that as a link', [{ link: 'ip6-localhost' }], ['10.1.1.2\tblue']],
    ['an address in no subnet', [{ addresses: ['10.1.2.2', 'fd00:2::2'] }], []],
  ])('leave out %s', (_, ends, expected) => {
    expect(lines(hostsText([network(ends)]))).toEqual(expected);
  });

  it('of two links into one namespace have both', () => {
    const text = hostsText([
      network([{}, { link: 'w-blue', addresses: ['10.1.1.9'] }]),
      network([{ bridge: 'br01', link: 'x-blue', addresses: ['10.2.0.2'] }], {
        bridge: 'br01',
        subnets: ['10.2.0.0/24'],
      }),
    ]);
    expect(lines(text)).toEqual(['10.1.1.2\tblue v-blue', '10.1.1.9\tblue w-blue', '10.2.0.2\tblue x-blue']);
  });
});

test('resolv.conf has the resolvers of all bridges in order, each once and three at most', () => {
  const of = (...dns: string[]) => network([], { dns });
  expect(resolvConfText([of(), of()])).toBe(null);
  expect(
    lines(resolvConfText([of('10.1.1.1', 'fd00::1'), of(), of('10.1.1.1', '192.0.2.1', '192.0.2.2')])),
  ).toEqual(['nameserver 10.1.1.1', 'nameserver fd00::1', 'nameserver 192.0.2.1']);
});

describe('files', () => {
  const text = `${NAMES_MARK} one\n10.1.1.2\tblue\n`;

  function files() {
    const root = join(temporaryDirectory(), 'netns');
    const path = join(root, 'blue', 'hosts');
    return { root, path, kept: new NameFiles(root) };
  }

  it('are made readable for everybody, with nothing beside them', () => {
    const { root, path, kept } = files();
    const umask = process.umask(0o077);
    expect(kept.keep('blue', 'hosts', text, true)).toEqual({ state: 'written' });
    process.umask(umask);
    expect(readFileSync(path, 'utf8')).toBe(text);
    expect([root, join(root, 'blue'), path].map((each) => (statSync(each).mode & 0o777).toString(8))).toEqual(
      ['755', '755', '644'],
    );
    expect(readdirSync(root)).toEqual(['blue']);
  });

  it('stay the same file, whether the text gets longer or shorter', () => {
    const { path, kept } = files();
    kept.keep('blue', 'hosts', text, true);
    const { ino } = statSync(path);
    for (const each of [`${text}10.1.1.3\tred\n`, text, `${NAMES_MARK}\n`]) {
      kept.keep('blue', 'hosts', each, false);
      expect([readFileSync(path, 'utf8'), statSync(path).ino]).toEqual([each, ino]);
    }
  });

  it('are not written if they are right', () => {
    const { path, kept } = files();
    kept.keep('blue', 'hosts', text, true);
    const { mtimeNs } = statSync(path, { bigint: true });
    expect(kept.keep('blue', 'hosts', text, true)).toEqual({ state: 'written' });
    expect(statSync(path, { bigint: true }).mtimeNs).toBe(mtimeNs);
  });

  it('are not made where they are only to be kept', () => {
    const { root, kept } = files();
    expect(kept.keep('blue', 'hosts', text, false)).toEqual({ state: 'absent' });
    expect(existsSync(root)).toBe(false);
  });

  it('go with their directory, unless something else is in it', () => {
    const { root, path, kept } = files();
    kept.keep('blue', 'hosts', text, true);
    kept.keep('blue', 'resolvConf', text, true);
    expect(kept.remove('blue', 'resolvConf')).toEqual({ state: 'absent' });
    expect(readdirSync(join(root, 'blue'))).toEqual(['hosts']);
    writeFileSync(join(root, 'blue', 'nsswitch.conf'), 'theirs');
    kept.remove('blue', 'hosts');
    expect([existsSync(path), readdirSync(join(root, 'blue'))]).toEqual([false, ['nsswitch.conf']]);
    expect(kept.remove('red', 'hosts')).toEqual({ state: 'absent' });
  });

  test.each<[string, (path: string) => void]>([
    ['a file without the mark', (path) => writeFileSync(path, '127.0.0.1 localhost\n')],
    ['an empty file', (path) => writeFileSync(path, '')],
    ['a file with half the mark', (path) => writeFileSync(path, NAMES_MARK.slice(0, -1))],
    ['a directory', (path) => mkdirSync(path)],
    [
      'a link to one with the mark',
      (path) => {
        writeFileSync(`${path}.there`, text);
        symlinkSync(`${path}.there`, path);
      },
    ],
    ['a link to nowhere', (path) => symlinkSync('/nowhere/hosts', path)],
  ])('leave %s alone', (_, make) => {
    const { root, path, kept } = files();
    mkdirSync(join(root, 'blue'), { recursive: true });
    make(path);
    const before = lstatSync(path, { bigint: true });
    expect(kept.keep('blue', 'hosts', `${text}more\n`, true)).toEqual({
      state: 'foreign',
      reason: expect.stringContaining(path),
    });
    expect(kept.remove('blue', 'hosts')).toEqual({ state: 'absent' });
    const after = lstatSync(path, { bigint: true });
    expect([after.ino, after.mtimeNs]).toEqual([before.ino, before.mtimeNs]);
  });

  it('are not made in a directory that is a link', () => {
    const { root, kept } = files();
    const elsewhere = temporaryDirectory();
    mkdirSync(root);
    symlinkSync(elsewhere, join(root, 'blue'));
    expect(kept.keep('blue', 'hosts', text, true)).toMatchObject({ state: 'foreign' });
    expect(readdirSync(elsewhere)).toEqual([]);
  });

  it('that can’t be written are told, and tried again', () => {
    const { root, path, kept } = files();
    writeFileSync(root, 'in the way');
    expect(kept.keep('blue', 'hosts', text, true)).toEqual({
      state: 'failed',
      reason: expect.stringContaining(`${path} could not be written: E`),
    });
    unlinkSync(root);
    expect(kept.keep('blue', 'hosts', text, true)).toEqual({ state: 'written' });
  });

  it('that were half made when netnsd was killed are no obstacle', () => {
    const { root, path, kept } = files();
    mkdirSync(root);
    writeFileSync(join(root, '.netnsd-new'), 'half');
    kept.keep('blue', 'hosts', text, true);
    expect([readdirSync(root), readFileSync(path, 'utf8')]).toEqual([['blue'], text]);
    writeFileSync(join(root, '.netnsd-new'), 'half');
    kept.removeLeftover();
    expect(readdirSync(root)).toEqual(['blue']);
  });
});

test('--names-dir says where they are', () => {
  expect(readConfig([], {}, '').namesDir).toBe('/etc/netns');
  expect(readConfig(['--names-dir', '/run/names'], {}, '').namesDir).toBe('/run/names');
  expect(readConfig(['--names-dir', 'none'], {}, '').namesDir).toBe(null);
  expect(() => readConfig(['--names-dir', 'names'], {}, '')).toThrow(/no absolute path/);
});
