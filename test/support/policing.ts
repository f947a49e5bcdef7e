import { execa } from 'execa';
import { run } from './shell.ts';

/** Which of what policing needs the kernel lacks, by asking it on a device that goes again; null if nothing. */
export async function policingLacks(): Promise<'cls_matchall' | 'act_police' | null> {
  await run('ip', ...'link add name probe0 type veth peer name probe1'.split(' '));
  try {
    await tc('qdisc add dev probe0 ingress');
    const filter =
      'filter add dev probe0 ingress matchall action police rate 8kbit burst 9000 conform-exceed drop';
    const { exitCode, stderr } = await execa('tc', filter.split(' '), { reject: false });
    if (exitCode === 0) return null;
    if (stderr.includes('TC classifier not found')) return 'cls_matchall';
    if (stderr.includes('Failed to load TC action module')) return 'act_police';
    throw new Error(stderr);
  } finally {
    await run('ip', 'link', 'delete', 'probe0');
  }
}

/** `tc` with words that are parted by spaces. */
export async function tc(...words: string[]): Promise<string> {
  return run('tc', ...words.flatMap((each) => each.split(' ')));
}

/** What there is at a device for filters of what it receives; and each filter by its place, its kind, and its rate. */
export async function ingressOf(device: string, namespace: string | null = 'blue'): Promise<string[]> {
  const where = namespace === null ? [] : ['-n', namespace];
  const qdiscs = await tc(...where, `qdisc show dev ${device}`);
  const kind = /(?<=^qdisc )(?:ingress|clsact)(?= )/m.exec(qdiscs)?.[0];
  if (kind === undefined) return [];
  const filters = await tc(...where, `filter show dev ${device} ingress`);
  const shown = [...filters.matchAll(/pref (\d+) (\S+) chain 0 (?:handle|fh \S+ order)[^]*?(?=\nfilter|$)/g)];
  return [
    kind,
    ...shown.map(([text, pref, type]) =>
      [pref, type, ...(/(?<=police 0x[0-9a-f]+ rate )\S+/.exec(text) ?? [])].join(' '),
    ),
  ];
}
