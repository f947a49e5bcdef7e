import type { LimitFunction } from 'p-limit';
import type { Logger } from 'pino';
import type { ListFilter, Stored } from '../db/resources.ts';
import type { Store } from '../db/store.ts';
import { CommandFailed } from '../kernel/errors.ts';
import type { Processes } from '../kernel/processes.ts';
import { HOST, refText, type Difference, type Kind, type Ref } from '../schemas/common.ts';
import { DEFAULT_POOLS, type AddressPool, type Lease } from '../schemas/ipam.ts';
import type { ObservedOf } from '../schemas/resource.ts';
import { lookToAdopt, type Prospect } from './adoption.ts';
import { Draft } from './draft.ts';
import type { Caller, Change, Done, DryRun } from './change.ts';
import { checkConditions, type Conditions } from './conditions.ts';
import type { Engine } from './engine.ts';
import type { Choosing } from './ipam.ts';
import type { SpecOf } from './kind.ts';
import { kindOf, tiesOf } from './kinds.ts';
import { deleteWithReferrers, layOver, referrersOf } from './lay-over.ts';
import { leasesOf } from './leases.ts';
import { checkPatchedType, withoutDefaults } from './link-types.ts';
import { mergePatch } from './merge-patch.ts';
import { Problem, nameConflict, notFound, problemOfCommand } from './problem.ts';
import type { Repaired } from './repair.ts';
import { stateOf } from './state.ts';
import { namespacesOfChange, survey } from './survey.ts';

/** A resource as a client sees it: intent, revision, times, status. */
type PublicResource = Record<string, unknown> & { revision: number };

export interface ChangeAnswer extends Done {
  body: PublicResource | null;
}

export interface ListChoice {
  limit: number;
  after: string | null;
  labels: readonly { key: string; value: string }[];
  namespace: string | null;
  bridge: string | null;
}

interface Deps {
  store: Store;
  engine: Engine;
  processes: Processes;
  log: Logger;
  /** Bounds how many reads look at the kernel side by side. */
  lookLimit: LimitFunction;
  /** What subnets are chosen from; the default if left out. */
  pools?: readonly AddressPool[] | undefined;
  /** Puts a resource in order that the kernel does not have as it is recorded. */
  mend: (ref: Ref) => Promise<Repaired>;
  /** What else the status of a resource has. */
  statusBeside?: (ref: Ref) => object;
  /** Throws a problem unless the body, merged from a patch, fits the kind's schema. */
  validate: <K extends Kind>(kind: K, body: unknown) => SpecOf<K>;
}

/** Create, read, change and delete resources of any kind. */
export class ResourceService {
  readonly #deps: Deps;

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  creation<K extends Kind>(kind: K, spec: SpecOf<K>, conditions: Conditions, caller: Caller): Change {
    const surveyed = this.#surveyed(kind, spec);
    return this.#change('create', { kind, name: spec.name }, caller, surveyed, (draft, choosing) => {
      const before = draft.get(kind, spec.name);
      if (before !== null) throw nameConflict({ kind, name: spec.name });
      checkConditions(conditions, before, { kind, name: spec.name });
      layOver(draft, kind, spec, before, choosing);
    });
  }

  replacement<K extends Kind>(kind: K, spec: SpecOf<K>, conditions: Conditions, caller: Caller): Change {
    return this.#replacement(kind, spec, conditions, caller, null);
  }

  /** The same, but that it takes over what is in the kernel already, if that is as the resource is to be. */
  async adoption<K extends Kind>(
    kind: K,
    spec: SpecOf<K>,
    conditions: Conditions,
    caller: Caller,
  ): Promise<Change> {
    const { lookLimit } = this.#deps;
    const prospect = await lookLimit(async () => lookToAdopt(kind, spec, this.#deps));
    const change = this.#replacement(kind, spec, conditions, caller, prospect);
    return { ...change, adopts: prospect !== null };
  }

  #replacement<K extends Kind>(
    kind: K,
    spec: SpecOf<K>,
    conditions: Conditions,
    caller: Caller,
    prospect: Prospect<K> | null,
  ): Change {
    const ref = { kind, name: spec.name };
    return this.#change('replace', ref, caller, this.#surveyed(kind, spec), (draft, choosing) => {
      const before = draft.get(kind, spec.name);
      checkConditions(conditions, before, ref);
      layOver(draft, kind, spec, before, { ...choosing, prospect: before === null ? prospect : null });
    });
  }

  patching(kind: Kind, name: string, patch: unknown, conditions: Conditions, caller: Caller): Change {
    const surveyed = this.#surveyed(kind, { name }, patch);
    return this.#change('patch', { kind, name }, caller, surveyed, (draft, choosing) => {
      const before = draft.get(kind, name);
      if (before === null) throw notFound({ kind, name });
      checkConditions(conditions, before, { kind, name });
      const merged = mergePatch(withoutDefaults(before.intent), patch);
      if (kind === 'link') checkPatchedType(before.intent, merged);
      const spec = this.#deps.validate(kind, merged);
      if (spec.name !== name)
        throw new Problem('invalid-request', `/name: a resource keeps its name; this is ${name}`, {
          errors: [{ pointer: '/name', message: `must be ${name}` }],
        });
      layOver(draft, kind, spec, before, choosing);
    });
  }

  removal(ref: Ref, cascade: boolean, conditions: Conditions, caller: Caller): Change {
    return this.#change(
      'delete',
      ref,
      caller,
      () => [],
      (draft) => {
        const before = draft.get(ref.kind, ref.name);
        if (before === null) throw notFound(ref);
        checkConditions(conditions, before, ref);
        const references = referrersOf(before, draft);
        if (references.length > 0 && !cascade)
          throw new Problem(
            'in-use',
            `${refText(ref)} is named by ${references.map(refText).join(', ')}; delete these first, or all at once with ?cascade=true`,
            { references },
          );
        deleteWithReferrers(before, draft);
      },
    );
  }

  /** What a change would do; throws the problem that it would be refused with. */
  async dryRun(change: Change): Promise<DryRun> {
    await change.survey?.(this.#deps.processes.timeoutMs);
    return this.#deps.engine.dryRun(change);
  }

  /** The resource with what the kernel has of it now. */
  async get(kind: Kind, name: string): Promise<PublicResource> {
    const stored = this.#recorded(kind, name);
    const observed = await this.#look(stored);
    this.#remember(stored, observed);
    return this.#present({ ...stored, observed });
  }

  /** The revision alone, which costs no look at the kernel. */
  revision(kind: Kind, name: string): number {
    return this.#recorded(kind, name).revision;
  }

  /** Resources in order of name, with what the kernel was last seen to have: no process is started. */
  list(
    kind: Kind,
    { limit, after, labels, namespace, bridge }: ListChoice,
  ): { items: PublicResource[]; next: string | null } {
    const references: Ref[] = [
      ...(namespace === null ? [] : [{ kind: 'namespace', name: namespace } as const]),
      ...(bridge === null ? [] : [{ kind: 'bridge', name: bridge } as const]),
    ];
    const filter: ListFilter = { after, limit: limit + 1, labels, references };
    const found = this.#deps.store.resources.list(kind, filter);
    const page = found.slice(0, limit);
    return {
      items: page.map((stored) => this.#present(stored)),
      next: found.length > limit ? (page.at(-1)?.name ?? null) : null,
    };
  }

  /** What was given out of the subnets of a bridge. */
  leases(bridge: string): Lease[] {
    this.#recorded('bridge', bridge);
    return leasesOf(bridge, this.#deps.store.resources);
  }

  /** Whether netnsd has a resource of that name. */
  has(kind: Kind, name: string): boolean {
    if (kind === 'namespace' && name === HOST) return false;
    return this.#deps.store.resources.get(kind, name) !== null;
  }

  #recorded(kind: Kind, name: string): Stored {
    const stored = kind === 'namespace' && name === HOST ? null : this.#deps.store.resources.get(kind, name);
    if (stored === null) throw notFound({ kind, name });
    return stored;
  }

  #surveyed(kind: Kind, spec: { name: string }, patch?: unknown): () => string[] {
    return () => namespacesOfChange({ kind, name: spec.name }, spec, patch, this.#deps.store.resources);
  }

  #change(
    action: Change['action'],
    { kind, name }: Ref,
    caller: Caller,
    surveyed: () => string[],
    prepare: (draft: Draft, choosing: Pick<Choosing, 'pools' | 'survey'>) => void,
  ): Change {
    const processes = this.#deps.processes.counter();
    let seen: Awaited<ReturnType<typeof survey>> | null = null;
    return {
      action,
      kind,
      name,
      caller,
      survey: async (timeLeftMs) => {
        seen = await survey(surveyed(), { ...this.#deps, processes, timeLeftMs });
      },
      surveyed: () => processes.started(),
      prepare: (draft) => {
        if (kind === 'namespace' && name === HOST)
          throw new Problem(
            'not-found',
            `\`${HOST}\` is the reserved name of the daemon's own namespace, which can't be changed`,
          );
        if (seen instanceof Error) throw seen;
        prepare(draft, { pools: this.#deps.pools ?? DEFAULT_POOLS, survey: seen });
      },
    };
  }

  /**
   * Makes a change; throws `ChangeRefused` if it was not made.
   *
   * @param onCommit given the answer within the transaction that acknowledges the change
   */
  async make(change: Change, onCommit?: (answer: ChangeAnswer) => void): Promise<ChangeAnswer> {
    const done = await this.#deps.engine.submit({
      ...change,
      onCommit: (committed) => onCommit?.(this.#answerTo(committed)),
    });
    // What the change itself read is in the store; what did not change is looked at.
    if (done.changed || done.resource === null) return this.#answerTo(done);
    return { ...done, body: this.#present(await this.#asRecorded(done.resource)) };
  }

  /** Success means that the kernel has it: what was asked for again and has drifted is mended first. */
  async #asRecorded(stored: Stored): Promise<Stored> {
    const observed = await this.#look(stored);
    const seen = { ...stored, observed };
    if (this.#differencesOf(seen).length === 0) return seen;
    const { failed } = await this.#deps.mend(stored);
    const own = failed.find(({ ref }) => refText(ref) === refText(stored));
    if (own !== undefined) throw own.problem;
    const current = this.#recorded(stored.kind, stored.name);
    return { ...current, observed: await this.#look(current) };
  }

  #differencesOf<K extends Kind>(stored: Stored<K>): Difference[] {
    if (stored.observed === null) return [];
    const draft = new Draft(this.#deps.store.resources, tiesOf);
    return kindOf(stored.kind).differences(stored, stored.observed, draft);
  }

  #answerTo(done: Done): ChangeAnswer {
    return { ...done, body: done.resource === null ? null : this.#present(done.resource) };
  }

  async #look<K extends Kind>({ kind, intent, assigned }: Stored<K>): Promise<ObservedOf<K>> {
    try {
      return await this.#deps.lookLimit(() => kindOf(kind).look(intent, this.#deps.processes, assigned));
    } catch (error) {
      throw error instanceof CommandFailed ? problemOfCommand(error) : error;
    }
  }

  /** Lists show what was last seen. That it can't be noted is no reason not to answer with it. */
  #remember(stored: Stored, observed: unknown): void {
    const { store, log } = this.#deps;
    try {
      store.journal(() => store.resources.putObserved(stored, observed));
    } catch (error) {
      log.warn({ err: error }, 'what was seen could not be noted');
    }
  }

  #present<K extends Kind>(stored: Stored<K>): PublicResource {
    const { kind, intent, assigned, revision, createdAt, updatedAt, observed, failure } = stored;
    const differences = this.#differencesOf(stored);
    const own = observed === null ? {} : kindOf(kind).status(intent, observed, assigned);
    const status = { ...stateOf(failure, differences), ...own, ...this.#deps.statusBeside?.(stored) };
    return { ...(kindOf(kind).shown?.(intent) ?? intent), revision, createdAt, updatedAt, status };
  }
}
