import { Type, type Static } from 'typebox';
import { nullable, strictObject } from './object.ts';

/** What a file in /etc/netns begins with that netnsd keeps; one that begins otherwise is somebody else's. */
export const NAMES_MARK = '# Kept by netnsd:';

/** The files of a namespace, as ip-netns(8) has them stand in for those in /etc. */
export const nameFiles = { hosts: 'hosts', resolvConf: 'resolv.conf' } as const;
export type NameFile = keyof typeof nameFiles;

const state = nullable(
  Type.Enum(['written', 'foreign', 'failed'], {
    description:
      'null: there is none to keep. written: it is as it is to be. foreign: somebody else’s is there, and left alone. failed: it could not be written; it is tried again.',
  }),
);

export const NamesStatus = strictObject(
  { hosts: state, resolvConf: state },
  {
    $id: 'NamesStatus',
    description: 'what became of `hosts` and `resolv.conf` in /etc/netns/NAME; left out if there is neither',
  },
);
export type NamesStatus = Static<typeof NamesStatus>;
