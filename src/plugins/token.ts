import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const TOKEN_BYTES = 32;

/** Reads the token of a state directory, or makes one at the first start; only its owner may read it. */
export function readToken(stateDir: string): string {
  const path = join(stateDir, 'token');
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  if (!existsSync(path)) makeToken(path);
  // On a disk that is mounted read-only this would fail, and hide what is said of the store.
  if ((statSync(path).mode & 0o777) !== 0o600) chmodSync(path, 0o600);
  const token = readFileSync(path, 'utf8').trim();
  if (!/^[A-Za-z0-9._~+/-]{16,}=*$/.test(token))
    throw new Error(
      `${path} holds no token (16 or more letters, digits and -._~+/); remove it to have a new one made`,
    );
  return token;
}

function makeToken(path: string): void {
  try {
    writeFileSync(path, `${randomBytes(TOKEN_BYTES).toString('base64url')}\n`, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    // On a full disk an empty file stays, which at the next start would be a token that is none.
    if (statSync(path, { throwIfNoEntry: false })?.size === 0) rmSync(path);
    throw new Error(`the token ${path} can’t be written: ${String(error)}`, { cause: error });
  }
}
