import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import type { TSchema } from 'typebox';
import { completeDocument } from './openapi-document.ts';

declare module 'fastify' {
  interface FastifySchema {
    /** Examples of the body, by name; beside a `$ref` the swagger plugin would drop them. */
    'x-body-examples'?: Record<string, unknown>;
  }
}

interface OpenApiOptions {
  version: string;
  shared: readonly TSchema[];
}

/** OpenAPI 3.1 at /openapi.json, made from the schemas of the routes, and Swagger UI at /docs. */
export async function openApi(app: FastifyInstance, { version, shared }: OpenApiOptions): Promise<void> {
  for (const schema of shared) app.addSchema(schema);
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'netnsd',
        version,
        description:
          'Linux network namespaces over HTTP: namespaces, links, bridges and address translation. What is asked for is recorded, carried out by `ip` and `iptables`, and answered with what the kernel then has.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: '/', description: 'the daemon that serves this page' }],
      tags: [
        { name: 'namespaces', description: 'network namespaces, and what is in them' },
        { name: 'links', description: 'veth pairs (an interface and its peer), macvlans, vxlans and taps' },
        { name: 'bridges', description: 'Linux bridges' },
        { name: 'nat', description: 'address translation, with the forwarding that it needs' },
        { name: 'operations', description: 'the journal of changes' },
        { name: 'system', description: 'the machine and the daemon' },
        { name: 'problems', description: 'what errors mean' },
      ],
      components: {
        securitySchemes: {
          token: {
            type: 'http',
            scheme: 'bearer',
            description:
              'The content of the file `token` in the state directory. The unix socket needs none.',
          },
        },
      },
      security: [{ token: [] }],
    },
    // OpenAPI 3.1 has `const`.
    convertConstToEnum: false,
    refResolver: {
      buildLocalReference: (json, _baseUri, _fragment, index) =>
        typeof json['$id'] === 'string' ? json['$id'] : `schema-${index}`,
    },
    transformObject: (made) => {
      if (!('openapiObject' in made)) return made.swaggerObject;
      completeDocument(made.openapiObject);
      return made.openapiObject;
    },
  });
  await app.register(async (docs) => {
    docs.addHook('onRoute', (route) => {
      route.config = { ...route.config, isPublic: true };
    });
    await docs.register(swaggerUi, {
      routePrefix: '/docs',
      // No inline script runs on the page that holds the token, and no other site may show it in a frame.
      staticCSP:
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'self'; frame-ancestors 'none'",
      uiConfig: { persistAuthorization: true, tryItOutEnabled: true },
    });
  });
}

/** The document itself; registered last, so that it is complete. */
export function openApiDocument(app: FastifyInstance): void {
  app.get('/openapi.json', { config: { isPublic: true }, schema: { hide: true } }, async () => app.swagger());
}
