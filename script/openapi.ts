import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createConfig, lintFromString } from '@redocly/openapi-core';
import { pino } from 'pino';
import { buildApp } from '../src/app.ts';
import packageJson from '../package.json' with { type: 'json' };

// Writes openapi/openapi.json from the routes and their schemas; with --check only says whether the one that is
// there is up to date. Either way the document has to pass the linter's recommended rules without a warning.

const FILE = new URL('../openapi/openapi.json', import.meta.url);

const [option, ...more] = process.argv.slice(2);
if (more.length > 0 || (option !== undefined && option !== '--check')) {
  process.stderr.write('usage: node script/openapi.ts [--check]\n');
  process.exit(2);
}

const text = await documentText();
const complaints = await lint(text);
if (option === '--check') {
  if (text !== committedText()) complaints.push('openapi/openapi.json is stale: run `npm run openapi`');
} else {
  mkdirSync(new URL('.', FILE), { recursive: true });
  writeFileSync(FILE, text);
}
for (const complaint of complaints) process.stderr.write(`${complaint}\n`);
process.exitCode = complaints.length > 0 ? 1 : 0;

/** The whole application, on a store that nobody sees; nothing listens and no tool runs. */
async function documentText(): Promise<string> {
  const stateDir = mkdtempSync(join(tmpdir(), 'netnsd-openapi-'));
  try {
    const app = await buildApp({
      version: packageJson.version,
      stateDir,
      token: 'unused',
      needsToken: true,
      purpose: 'document',
      log: pino({ level: 'silent' }),
    });
    const document = app.fastify.swagger();
    await app.stop();
    return `${JSON.stringify(document, null, 2)}\n`;
  } finally {
    rmSync(stateDir, { recursive: true, force: true });
  }
}

async function lint(source: string): Promise<string[]> {
  const config = await createConfig({ extends: ['recommended'] });
  const problems = await lintFromString({ source, absoluteRef: 'openapi.json', config });
  return problems.map(
    ({ ruleId, message, location: [place] }) => `${place?.pointer ?? '#/'}: ${ruleId}: ${message}`,
  );
}

function committedText(): string | null {
  try {
    return readFileSync(FILE, 'utf8');
  } catch {
    // It was never made: as stale as one can be.
    return null;
  }
}
