// The form that sends the next prompt, with what is set for it: the second of
// the film at which it begins, and the seed and blending of the controls.

// nodes: {form, prompt, cut, at}; on: {begun, say}
export function acceptPrompts(nodes, composer, controls, on) {
  const { prompt, at } = nodes;
  // Sends the prompt. It continues the shot, or cuts to a new one.
  const send = (cut) => {
    let text = prompt.value.trim();
    if (!text && !on.begun()) {
      text = prompt.placeholder; // one key begins a film
      composer.write(text);
    }
    if (!text) return prompt.focus();
    const direction = { do: 'prompt', prompt: text, cut };
    Object.assign(direction, controls.fields(cut));
    if (at.value !== '') direction.at_secs = Number(at.value);
    on.say(direction);
    at.value = ''; // the prompt after it begins at once again
    prompt.select();
  };
  nodes.form.addEventListener('submit', (event) => {
    event.preventDefault();
    send(false);
  });
  nodes.cut.onclick = () => send(true);
  prompt.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.isComposing) return;
    event.preventDefault();
    send(event.shiftKey);
  });
}
