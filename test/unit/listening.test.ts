import { describe, expect, it } from 'vitest';
import { parseEndpoint, parseSocket } from '../../src/kernel/listening.ts';

const row = (local: string, state = '0A'): string =>
  `   0: ${local} 00000000000000000000000000000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0`;

describe('sockets as procfs prints them', () => {
  it.each([
    ['0100007F:1F90', '127.0.0.1'],
    ['026433C6:1F90', '198.51.100.2'],
    ['00000000:1F90', '0.0.0.0'],
    ['00000000000000000000000000000000:1F90', '::'],
    ['00000000000000000000000001000000:1F90', '::1'],
    ['B80D0120000051000000000002000000:1F90', '2001:db8:51::2'],
    ['0000000000000000FFFF0000026433C6:1F90', '198.51.100.2'],
    ['0000000000000000FFFF00000100007F:1F90', '127.0.0.1'],
  ])('have the address of %s', (local, address) => {
    expect(parseSocket('tcp', row(local))).toEqual([{ protocol: 'tcp', address, port: 8080, inode: '4711' }]);
  });

  it('listen, or are bound and not connected', () => {
    expect(parseSocket('tcp', row('0100007F:1F90', '01'))).toEqual([]);
    expect(parseSocket('udp', row('0100007F:1F90', '01'))).toEqual([]);
    expect(parseSocket('udp', row('0100007F:1F90', '07'))).toHaveLength(1);
  });

  it('of SCTP have several addresses', () => {
    const endpoint = (state: number): string =>
      `ffff8880 ffff8881 2   ${state}   31   8080      0 4711 *198.51.100.2 2001:0db8:0051:0000:0000:0000:0000:0002 `;
    const at = { protocol: 'sctp', port: 8080, inode: '4711' };
    expect(parseEndpoint(endpoint(10))).toEqual([
      { ...at, address: '198.51.100.2' },
      { ...at, address: '2001:db8:51::2' },
    ]);
    expect(parseEndpoint(endpoint(7))).toEqual([]);
  });
});
