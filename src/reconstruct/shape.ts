/**
 * The shape of a pass: which points it met by which interfaces, with which marks, and where its header changed. A log of a
 * million packets has few shapes, so what follows from a shape is worked out once.
 */
import type { TraceEvent, TracePoint, Via } from '../model.ts';

export interface Shape {
  id: number;
  /** The step that led here; undefined at the root. */
  step: Step | undefined;
  parent: Shape | undefined;
  /** What most packets did next, and everything any did. */
  usual: Shape | undefined;
  next: Map<string, Shape>;
  /** Passes that came by. */
  count: number;
}

interface Step {
  point: TracePoint;
  via: Via;
  mark: number | undefined;
  headerChanged: boolean;
}

export interface Shapes {
  /** The shape that `shape` becomes by one more event; undefined when there are too many to be worth it. */
  extend(shape: Shape | undefined, event: TraceEvent, headerChanged: boolean): Shape | undefined;
  root: Shape;
}

const MOST_SHAPES = 50_000;

export function createShapes(): Shapes {
  let count = 0;
  const create = (parent: Shape | undefined, step: Step | undefined): Shape => ({
    id: count++,
    step,
    parent,
    usual: undefined,
    next: new Map(),
    count: 0,
  });
  const find = (shape: Shape, event: TraceEvent, headerChanged: boolean): Shape | undefined => {
    const key = `${event.point.id} ${event.via.id} ${event.mark ?? ''} ${headerChanged}`;
    const known = shape.next.get(key);
    if (known || count >= MOST_SHAPES) return known;
    const made = create(shape, { point: event.point, via: event.via, mark: event.mark, headerChanged });
    shape.next.set(key, made);
    return made;
  };
  return {
    root: create(undefined, undefined),
    extend(shape, event, headerChanged) {
      if (!shape) return undefined;
      const usual = shape.usual;
      const step = usual?.step;
      const same =
        step &&
        step.point === event.point &&
        step.via === event.via &&
        step.mark === event.mark &&
        step.headerChanged === headerChanged;
      const taken = same ? usual : find(shape, event, headerChanged);
      if (!taken) return undefined;
      shape.usual = taken;
      taken.count++;
      return taken;
    },
  };
}

/** The steps from the root to here, first one first. */
export function stepsTo(shape: Shape): Step[] {
  const steps: Step[] = [];
  for (let at: Shape | undefined = shape; at?.step; at = at.parent) steps.push(at.step);
  return steps.reverse();
}
