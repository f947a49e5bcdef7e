import type { FastifyReply } from 'fastify';
import type { KeptAnswer } from '../db/idempotency.ts';

/** Sends an answer as it stands. */
export async function sendAnswer(
  { status, headers, body }: KeptAnswer,
  reply: FastifyReply,
): Promise<FastifyReply> {
  void reply.code(status).headers(headers);
  return body === null ? reply.send() : reply.send(body);
}
