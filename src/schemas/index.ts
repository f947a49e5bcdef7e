import type { TSchema } from 'typebox';
import { Bridge, BridgeCreate, BridgePut, BridgeStatus, ForeignBridge, bridgePatch } from './bridge.ts';
import { BridgeFirewall, BridgeFirewallSpec } from './bridge-firewall.ts';
import { Difference, Reference, Statistics } from './common.ts';
import { driftSchemas } from './drift.ts';
import { inspectSchemas } from './inspect.ts';
import { EndLease, Lease, Subnet } from './ipam.ts';
import { Interface, Route } from './interface.ts';
import { Link, LinkCreate, LinkPut, LinkStatus, linkPatch, linkSchemas } from './link.ts';
import {
  ForeignNamespace,
  Namespace,
  NamespaceCreate,
  NamespacePut,
  NamespaceStatus,
  namespacePatch,
} from './namespace.ts';
import { Nat, NatCreate, NatPut, natPatch, natSchemas } from './nat.ts';
import { DryRunAnswer, Operation } from './operation.ts';
import { ProblemDocument } from './problem.ts';

/** Every schema that others refer to by its `$id`. */
export const sharedSchemas: readonly TSchema[] = [
  Reference,
  Difference,
  Statistics,
  Route,
  Interface,
  Subnet,
  EndLease,
  Lease,
  ProblemDocument,
  DryRunAnswer,
  Operation,
  NamespaceCreate,
  NamespacePut,
  namespacePatch,
  NamespaceStatus,
  Namespace,
  ForeignNamespace,
  BridgeFirewallSpec,
  BridgeFirewall,
  BridgeCreate,
  BridgePut,
  bridgePatch,
  BridgeStatus,
  Bridge,
  ForeignBridge,
  ...linkSchemas,
  LinkCreate,
  LinkPut,
  linkPatch,
  LinkStatus,
  Link,
  ...natSchemas,
  NatCreate,
  NatPut,
  natPatch,
  Nat,
  ...driftSchemas,
  ...inspectSchemas,
];
