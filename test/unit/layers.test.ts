import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const run = promisify(execFile);
const RULES = /no-restricted-(?:imports|globals|properties)/;
const OXLINT = resolve('node_modules/.bin/oxlint');
const FOLDERS = ['routes', 'plugins', 'services', 'plan', 'kernel', 'db', 'schemas'];

// A checkout with the real rules and nothing else, so that no file of ours can be in the way or be left behind.
let checkout = '';

beforeAll(async () => {
  checkout = await mkdtemp(join(tmpdir(), 'netnsd-layers-'));
  const rules = JSON.parse(await readFile('.oxlintrc.json', 'utf8'));
  rules.options.typeAware = false; // what is asked here needs no types, and is there three times as fast without
  await writeFile(join(checkout, '.oxlintrc.json'), JSON.stringify(rules));
});

afterAll(async () => rm(checkout, { recursive: true }));

/** Whether the lint rules of the layers let `file` (under src/) have that text. */
async function isAllowed(file: string, text: string): Promise<boolean> {
  const path = join(checkout, 'src', file);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
  try {
    const { stdout } = await run(OXLINT, ['--format', 'unix', path], { cwd: checkout });
    return !RULES.test(stdout);
  } catch (error) {
    const { stdout = '' } = error as { stdout?: string };
    if (!stdout.includes(`src/${file}`)) throw error; // oxlint itself failed, which proves nothing
    return !RULES.test(stdout);
  } finally {
    await rm(path);
  }
}

async function mayImport(file: string, specifier: string): Promise<boolean> {
  return isAllowed(file, `import { thing } from '${specifier}';\nexport const other = thing;\n`);
}

describe('layers', () => {
  test.each([
    ['main.ts', './app.ts'],
    ['main.ts', './config.ts'],
    ['app.ts', './routes/links.ts'],
    ['app.ts', './db/open.ts'],
    ['config.ts', './schemas/config.ts'],
    ['routes/links.ts', '../services/link.ts'],
    ['routes/links.ts', './shared.ts'],
    ['plugins/problem.ts', '../kernel/errors.ts'],
    ['services/link.ts', '../plan/plan.ts'],
    ['services/link.ts', '../db/links.ts'],
    ['plan/link.ts', '../kernel/step.ts'],
    ['plan/link.ts', '../kernel/state.ts'],
    ['plan/link.ts', 'node:crypto'],
    ['kernel/run.ts', 'execa'],
    ['kernel/run.ts', 'node:child_process'],
    ['db/open.ts', 'better-sqlite3'],
    ['schemas/link.ts', './common.ts'],
    ['schemas/link.ts', 'typebox'],
  ])('lets %s import %s', async (file, specifier) => {
    expect(await mayImport(file, specifier)).toBe(true);
  });

  test.each([
    ['app.ts', './main.ts'],
    ['config.ts', './routes/links.ts'],
    ['config.ts', './kernel/run.ts'],
    ['routes/links.ts', '../config.ts'],
    ['routes/deep/links.ts', '../../app.ts'],
    ['services/link.ts', './../routes/links.ts'],
    ['plan/link.ts', '../kernel/run.ts'],
    ['plan/link.ts', '../kernel/deep/step.ts'],
    ['plan/link.ts', '../kernel/index.ts'],
    ['plan/link.ts', '../db/links.ts'],
    ['plan/link.ts', 'node:fs/promises'],
    ['services/link.ts', 'execa'],
    ['services/link.ts', 'child_process'],
    ['kernel/run.ts', 'better-sqlite3'],
    ['routes/links.ts', 'better-sqlite3'],
  ])('forbids %s to import %s', async (file, specifier) => {
    expect(await mayImport(file, specifier)).toBe(false);
  });

  const upwards = FOLDERS.flatMap((lower, i) =>
    FOLDERS.slice(0, i).map((upper): [string, string] => [lower, upper]),
  );

  test.each(upwards)('forbids %s to import from %s, which is above it', async (lower, upper) => {
    expect(await mayImport(`${lower}/thing.ts`, `../${upper}/thing.ts`)).toBe(false);
  });

  test.each([
    ['types', "import type { Thing } from '../services/thing.ts';\nexport type Other = Thing;\n"],
    ['re-exports', "export * from '../services/thing.ts';\n"],
    ['imports at run time', "export const thing = await import('../services/thing.ts');\n"],
  ])('count %s as imports', async (_, text) => {
    expect(await isAllowed('kernel/thing.ts', text)).toBe(false);
  });

  test('keep the clock and chance out of plan', async () => {
    expect(await isAllowed('plan/thing.ts', 'export const now = Date.now();\n')).toBe(false);
    expect(await isAllowed('plan/thing.ts', 'export const dice = Math.random();\n')).toBe(false);
  });
});
