import { statSync } from 'node:fs';
import { chromium, type Browser, type Page } from 'playwright-core';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { run } from '../support/shell.ts';

/** Nothing that asks anybody on the network. */
const LAUNCH_ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Opens a page, and keeps what the browser has to complain about: failing scripts, and what the page may not do. */
async function openPage(): Promise<{ page: Page; complaints: string[] }> {
  const browser: Browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: LAUNCH_ARGS,
    timeout: 120_000,
  });
  onTestFinished(async () => browser.close());
  const page = await browser.newPage({ viewport: { width: 1280, height: 1600 } });
  page.setDefaultTimeout(90_000);
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('requestfailed', (request) => complaints.push(`${request.url()} failed`));
  return { page, complaints };
}

async function openDocs(page: Page, { origin }: Daemon): Promise<void> {
  await page.goto(`${origin}/docs`);
  await page.getByText('Create a namespace', { exact: true }).waitFor();
}

async function authorize(page: Page, token: string): Promise<void> {
  await page.getByRole('button', { name: 'Authorize' }).first().click();
  const dialog = page.locator('.dialog-ux');
  await dialog.locator('input').fill(token);
  await dialog.getByRole('button', { name: 'Apply credentials' }).click();
  await dialog.getByRole('button', { name: 'Close', exact: true }).click();
}

/** Fills an operation in, executes it, and gives the status that it was answered with. */
async function tryOut(
  page: Page,
  summary: string,
  { body, name }: { body?: object; name?: string },
): Promise<string> {
  const operation = page.locator('.opblock').filter({ has: page.getByText(summary, { exact: true }) });
  await operation.locator('.opblock-summary-control').click();
  if (name !== undefined) await operation.locator('tr[data-param-name="name"] input').fill(name);
  if (body !== undefined) await operation.locator('textarea.body-param__text').fill(JSON.stringify(body));
  await operation.getByRole('button', { name: 'Execute' }).click();
  const status = operation.locator('.live-responses-table .response-col_status').last();
  await status.waitFor();
  return (await status.innerText()).trim();
}

describe('Swagger UI in a browser', { timeout: 240_000 }, () => {
  test('creates a namespace in the kernel, and deletes it', async () => {
    const daemon = await startDaemon();
    const { page, complaints } = await openPage();
    await openDocs(page, daemon);
    await authorize(page, daemon.token);

    expect(
      await tryOut(page, 'Create a namespace', { body: { name: 'blue', labels: { by: 'browser' } } }),
    ).toMatch(/^201/);
    expect(await run('ip', 'netns', 'list')).toMatch(/^blue\b/m);
    const { body } = await daemon.request.get('/namespaces/blue').expect(200);
    expect(body).toMatchObject({
      labels: { by: 'browser' },
      status: { inode: statSync('/run/netns/blue').ino },
    });

    expect(await tryOut(page, 'Delete a namespace', { name: 'blue' })).toMatch(/^204/);
    expect(await run('ip', 'netns', 'list')).not.toMatch(/^blue\b/m);
    expect(complaints).toEqual([]);
  });

  test('shows why a request was refused', async () => {
    const daemon = await startDaemon();
    const { page } = await openPage();
    await openDocs(page, daemon);
    expect(await tryOut(page, 'Create a namespace', { body: { name: 'blue' } })).toMatch(/^401/);
    await page.getByText('/problems/unauthenticated').first().waitFor();
    expect(await run('ip', 'netns', 'list')).not.toMatch(/^blue\b/m);
  });

  test('offers the example of the body as it stands in the document', async () => {
    const daemon = await startDaemon();
    const { page } = await openPage();
    await openDocs(page, daemon);
    const operation = page
      .locator('.opblock')
      .filter({ has: page.getByText('Create a link', { exact: true }) });
    await operation.locator('.opblock-summary-control').click();
    const text = await operation.locator('textarea.body-param__text').inputValue();
    expect(JSON.parse(text)).toMatchObject({ name: 'veth00', type: 'veth', peer: { interface: 'veth10' } });
  });
});
