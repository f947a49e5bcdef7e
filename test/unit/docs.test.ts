import { readFile, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { UsageExit, readConfig } from '../../src/config.ts';
import { problemKinds, problemSlugs } from '../../src/schemas/problem.ts';

const guides = (await readdir('docs'))
  .filter((name) => name.endsWith('.md'))
  .map((name) => join('docs', name));
const documents = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...guides];
const textOf = new Map(
  await Promise.all(documents.map(async (name) => [name, await readFile(name, 'utf8')] as const)),
);

function text(document: string): string {
  return textOf.get(document) ?? '';
}

/** What `netnsd --help` prints, which config.ts makes of all that it knows. */
function help(): string {
  try {
    readConfig(['--help'], {}, '0.0.0');
  } catch (error) {
    if (error instanceof UsageExit) return error.message;
    throw error;
  }
  throw new Error('--help is to end the program');
}

function unique(values: Iterable<string>): string[] {
  return [...new Set(values)].toSorted();
}

function found(document: string, pattern: RegExp): string[] {
  return unique(document.match(pattern) ?? []);
}

const FLAG = /--[a-z][a-z-]*/g;
const VARIABLE = /\bNETNSD_[A-Z_]*[A-Z]\b/g;

describe('docs/errors.md', () => {
  const sections = new Map(
    text('docs/errors.md')
      .split(/^## /m)
      .map((section) => [/^`([a-z-]+)`/.exec(section)?.[1] ?? '', section]),
  );

  test.each(problemSlugs)('explains %s: its status, what to do, an example', (slug) => {
    const section = sections.get(slug) ?? '';
    expect(section).toContain(`Status ${problemKinds[slug].status}`);
    expect(section).toMatch(/^Do: /m);
    expect(section).toMatch(/^```json\n/m);
    expect(text('docs/errors.md')).toContain(`| [\`${slug}\`](#${slug}) | ${problemKinds[slug].status} |`);
  });

  test('explains no problem that the API does not have', () => {
    expect([...sections.keys()].filter((slug) => slug !== '' && !(slug in problemKinds))).toEqual([]);
  });

  test('has examples that are JSON', () => {
    const examples = [...text('docs/errors.md').matchAll(/^```json\n(.*?)^```$/gms)].map(
      ([, example = '']) => example,
    );
    expect(examples.length).toBeGreaterThan(problemSlugs.length);
    for (const example of examples) expect(() => JSON.parse(example) as unknown).not.toThrow();
  });
});

describe('flags and variables', () => {
  const [, configuration = ''] = text('README.md').split('\n## Configuration\n');
  const table = configuration.split('\n## ')[0] ?? '';

  test('README.md has every one of them, with its default', () => {
    expect(found(table, FLAG)).toEqual(found(help(), FLAG));
    expect(found(table, VARIABLE)).toEqual(found(help(), VARIABLE));
    const defaults = help()
      .replaceAll(/\s+/g, ' ')
      .matchAll(/default: "?([^,")]+)/g);
    for (const [, each = ''] of defaults)
      for (const value of each.split(' and ')) expect(table).toContain(`\`${value}\``);
  });

  test.each(['README.md', ...guides])('%s names none that config.ts lacks', (document) => {
    // `script/server` has a flag of its own.
    const known = `${help()} --teardown`;
    expect(found(text(document), VARIABLE).filter((name) => !known.includes(name))).toEqual([]);
    // Flags of netnsd: on a line that starts it, or in code of its own.
    const lines = text(document)
      .split('\n')
      .filter((line) => /script\/server |dist\/main\.js /.test(line));
    const own = [...text(document).matchAll(/`(--(?:listen|state|log|auth)[a-z-]*)/g)].map(
      ([, flag = '']) => flag,
    );
    const flags = unique([...lines.flatMap((line) => found(line, FLAG)), ...own]);
    expect(flags.filter((flag) => !found(known, FLAG).includes(flag))).toEqual([]);
  });
});

describe.each(documents)('%s', (document) => {
  test('links to files and sections that are there', () => {
    const links = [...text(document).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g)];
    const broken = links.filter(([, path = '', section]) => {
      const target = path === '' ? document : join(dirname(document), path);
      if (!existsSync(target)) return true;
      return section !== undefined && !new RegExp(`^#+ .?${section}`, 'im').test(text(target));
    });
    expect(broken.map(([link]) => link)).toEqual([]);
  });

  test('names scripts and tests that are there', () => {
    const names = found(
      text(document),
      /\b(?:script\/[a-z]+(?:\.ts)?|test\/[a-z]+\/[a-z-]+(?:\.test)?\.ts)(?![\w/])/g,
    );
    expect(names.filter((name) => !existsSync(name))).toEqual([]);
  });
});
