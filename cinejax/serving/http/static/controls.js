// What can change while the film rolls: memory, steps, guidance, LoRA, seed and
// blending. A choice that needs another program is compiled while the film goes
// on, and the page says so.

import { make } from '/view.js';

const MEMORIES = {
  camr: 'the past frames that fit what is seen now',
  window: 'only the latest frames',
  sink: 'the first frame of the film',
  shot_sink: 'the first frames of the latest shots',
  uniform: 'frames spread evenly over the past',
  random: 'any past frames, at random',
  rag: 'the first frame, and frames like the latest one',
  full: 'all frames that are stored',
};

export const memory = (policy) => MEMORIES[policy] ?? policy;

const chunks = (n) => (n ? `${n} chunk${n > 1 ? 's' : ''}` : 'no blend');

export class Controls {
  // nodes: {policy, steps, guidance, routed, lora, seed, blend, limits,
  // compiling}; say: sends a direction
  constructor(nodes, model, say) {
    this.nodes = nodes;
    this.model = model;
    const option = (list, value, text, title = '') =>
      list.append(make('option', { value, textContent: text, title }));
    for (const policy of model.policies) {
      option(nodes.policy, policy, policy, memory(policy));
    }
    for (const n of [0, 1, 2, 3, 4, 6, 8]) option(nodes.blend, n, chunks(n));
    const steps = model.steps_allowed;
    for (const n of steps ?? [1, 2, 4, 8, 12, 16, 24, 32, 48]) {
      const own = model.students?.includes(n) || n === model.steps;
      option(nodes.steps, n, steps && own ? `${n} (its student)` : n);
    }
    nodes.guidance.disabled = model.guidance === null;
    nodes.lora.closest('label').hidden = !model.lora;
    nodes.routed.max = model.routed_frames_max;
    nodes.limits.textContent = this.limits();
    nodes.policy.onchange = () => say({ do: 'set', policy: nodes.policy.value });
    const set = (node, name) => {
      node.onchange = () => {
        if (node.value !== '' && node.reportValidity()) {
          say({ do: 'set', [name]: Number(node.value) });
        }
      };
    };
    set(nodes.steps, 'steps');
    set(nodes.guidance, 'guidance');
    set(nodes.routed, 'routed_frames');
    set(nodes.lora, 'lora_strength');
  }

  limits() {
    const { model } = this;
    const parts = [
      `A chunk lasts ${model.chunk_secs.toFixed(2)} s; a direction is for the next one.`];
    if (model.guidance === null) parts.push('This model runs without guidance.');
    parts.push('The first prompt and a cut have nothing to blend from. A prompt '
      + 'that blends is, chunk by chunk, a mixture of what the text encoder makes '
      + 'of both prompts.');
    if (model.lora) parts.push('The LoRA strength multiplies those of --lora.');
    return parts.join(' ');
  }

  // What the next prompt has beside its text.
  fields(cut) {
    const { blend, seed } = this.nodes;
    const fields = {};
    if (!cut && blend.value !== '0') fields.blend_chunks = Number(blend.value);
    if (seed.value !== '') fields.seed = Number(seed.value);
    seed.value = ''; // the next prompt goes on with this noise
    return fields;
  }

  // `refused`: the server has refused a choice, which is taken back.
  show(session, refused = false) {
    const { policy, steps, guidance, routed_frames: routed, lora_strength: lora }
      = session.settings;
    const { model, nodes } = this;
    const values = {
      policy: policy || model.policy,
      steps: steps ?? model.steps,
      guidance: guidance ?? model.guidance ?? 1,
      routed: routed ?? model.routed_frames,
      lora: lora ?? 1,
    };
    for (const [name, value] of Object.entries(values)) {
      const node = nodes[name];
      if (node.tagName === 'SELECT' && ![...node.options].some(
        (one) => one.value === String(value))) {
        node.append(make('option', { value, textContent: value }));
      }
      if (refused || document.activeElement !== node) node.value = value;
    }
    nodes.compiling.textContent = session.compiling
      ? 'A program for the new settings is being compiled. The film goes on '
        + 'with the old ones until it is ready.'
      : '';
  }
}
