import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { buildApp } from '../../src/app.ts';
import { Schemas } from '../support/conformance.ts';

interface Media {
  schema?: object;
  examples?: Record<string, { value: unknown }>;
}
interface Operation {
  operationId?: string;
  summary?: string;
  tags?: string[];
  requestBody?: { content: Record<string, Media> };
  responses: Record<string, { description: string; content?: Record<string, Media> }>;
}

const document = await readDocument();
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({
    title: `${method.toUpperCase()} ${path}`,
    path,
    method,
    operation,
  })),
);
const schemas = new Schemas(document);

describe.each(operations)('$title', ({ path, method, operation }) => {
  test('has a summary, a tag that is described, and an operation id of its own', () => {
    const { summary, tags, operationId } = operation;
    expect(summary).toMatch(/^[A-Z]/);
    expect(tags).toHaveLength(1);
    expect(document.tags.map(({ name }) => name)).toContain(tags?.[0]);
    expect(operations.filter((other) => other.operation.operationId === operationId)).toHaveLength(1);
  });

  test('has a schema and a fitting example for each answer with a body', () => {
    for (const [status, { description, content = {} }] of Object.entries(operation.responses)) {
      expect(description).not.toBe('');
      if (!/^(204|304)$/.test(status)) expect(Object.keys(content)).toHaveLength(1);
      for (const [type, media] of Object.entries(content))
        expect(complaintsOf(media, ['paths', path, method, 'responses', status, 'content', type])).toEqual(
          [],
        );
    }
  });

  test('documents the problems that any route may end in', () => {
    expect(Object.keys(operation.responses)).toEqual(expect.arrayContaining(['500', '403']));
  });

  test('has a fitting example of the body, if it takes one', () => {
    const takesBody = ['post', 'put', 'patch'].includes(method) && path !== '/reconcile';
    expect(operation.requestBody !== undefined).toBe(takesBody);
    for (const [type, media] of Object.entries(operation.requestBody?.content ?? {}))
      expect(complaintsOf(media, ['paths', path, method, 'requestBody', 'content', type])).toEqual([]);
  });
});

test('a schema that has a discriminator says which value means which variant', () => {
  expect(document.components.schemas['NatCreate']).toMatchObject({
    discriminator: { propertyName: 'type', mapping: { dnat: '#/components/schemas/DnatCreate' } },
  });
});

function complaintsOf({ schema, examples = {} }: Media, place: readonly string[]): string[] {
  if (schema === undefined || Object.keys(examples).length === 0)
    return [`${place.join(' ')} lacks schema or example`];
  return Object.values(examples).flatMap(({ value }) => schemas.complaints([...place, 'schema'], value));
}

async function readDocument() {
  const stateDir = mkdtempSync(join(tmpdir(), 'netnsd-test-'));
  const app = await buildApp({
    version: '0.0.0-test',
    stateDir,
    token: 'unused',
    needsToken: true,
    purpose: 'document',
    log: pino({ level: 'silent' }),
  });
  const made: unknown = app.fastify.swagger();
  await app.stop();
  rmSync(stateDir, { recursive: true });
  return made as {
    paths: Record<string, Record<string, Operation>>;
    tags: { name: string }[];
    components: { schemas: Record<string, object> };
  };
}
