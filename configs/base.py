"""Every key of cinejax, once, with default, unit and meaning.

Other configs call `get_config()` here and change values; a key that is not
declared here does not exist (`cinejax.config` refuses it and names the
nearest). Sections are named like the packages that read them. A key's comment
is what `--help` shows of it.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.name = 'base'  # the name of the run in reports
  config.seed = 0  # seed of new weights, data order and noise in training

  film = config.film = ConfigDict()
  film.fps = 16.0  # pixel frames per second
  film.height = 480  # pixels
  film.width = 832  # pixels
  film.frames_per_chunk = 3  # F, latent frames; 1 = frame-wise
  film.cut_prefix = 'Cut to: '  # opens the prompt of a cut shot's first chunk
  film.cast_prompt = '{name}'  # what a given picture of a character shows

  codec = config.codec = ConfigDict()
  codec.name = 'patch'  # patch | taef2 | wan_vae | wan22_vae | taehv
  codec.temporal_stride = 4  # pixel frames per latent frame; the first has 1
  codec.spatial_stride = 8  # pixels per latent row or column
  codec.channels = 16  # C, channels of a latent frame
  codec.width = 128  # features of patch, wan_vae (96) or wan22_vae (160)
  codec.blocks = 3  # residual blocks in a half of patch, a level of Wan's (2)
  # linear | conv: the encoder of patch; linear is measured, conv is trained
  codec.encoder = 'linear'
  codec.head_features = 0  # per frame; patch decodes pixels of them; 0 = width
  codec.noise = 0.3  # largest deviation of noise on latents in its training
  codec.keep_latents = False  # train only the decoder of patch
  codec.tile = 0  # latent rows and columns of a tile of Wan's; 0 = no tiles
  codec.tile_overlap = 8  # least latent rows and columns that tiles share
  codec.compute_dtype = 'float32'  # float32 | bfloat16: of Wan's and taehv

  text = config.text = ConfigDict()
  text.name = 'hashed'  # hashed | umt5 | transformers
  text.words = 16  # W, caption tokens; longer prompts are cut
  text.features = 64  # features of a caption token
  # folder of umt5 or transformers, with tokenizer; '' = that of --weights
  text.folder = ''
  # names of actions that steer single frames, at most text.features; () = none
  text.actions = ()
  text.camera = False  # whether prompts may move the camera; see dit.camera
  text.frames = film.get_oneway_ref('frames_per_chunk')  # F, as film's

  dit = config.dit = ConfigDict()
  dit.layers = 6  # L, blocks of the transformer
  dit.heads = 4  # H, heads of attention
  dit.head_features = 32  # K of a head; even, for cuDNN a multiple of 8
  dit.mlp_features = 512  # G, features inside a block's MLP
  dit.patch = (1, 2, 2)  # latent frames, rows and columns of a token
  dit.actions = 0  # kinds of actions: as many as text.actions names
  # focal lengths in widths and heights of a frame; (0, 0) = no cameras
  dit.camera = (0.0, 0.0)
  # rows and columns of a table of absolute positions; (0, 0) = none, as in Wan
  dit.positions = (0, 0)
  dit.time_features = 256  # features of the sinusoid of time
  dit.channels = codec.get_oneway_ref('channels')  # C, as the codec's
  dit.text_features = text.get_oneway_ref('features')  # as the text's
  dit.epsilon = 1e-6  # added to the variance in every norm
  dit.compute_dtype = 'bfloat16'  # float32 | bfloat16; masters are float32
  # auto | none | dots | attention | full: what the backward pass computes
  # again. Of a layer, `dots` keeps the results of matrix products and of
  # attention, `attention` those of attention, `full` none; `auto` takes the
  # first that fits the memory of a device
  dit.remat = 'none'
  dit.attention = 'auto'  # auto | xla | cudnn (NVIDIA) | splash (TPU)
  # none | training | rollout | both: where layers are unrolled, not scanned.
  # It compiles for longer; then a CPU trains, and a GPU rolls out, faster
  dit.unroll = 'none'
  # compute | fp8: of products and attention in a rollout. fp8 changes films;
  # GPUs since Hopper are faster with it, and other devices emulate it
  dit.precision = 'compute'
  dit.gate = False  # whether heads learn how much routed frames count

  memory = config.memory = ConfigDict()
  # camr | window | sink | shot_sink | uniform | random | rag | full
  memory.policy = 'camr'
  memory.window_frames = 9  # V, newest frames, a multiple of F
  memory.routed_frames = 5  # R, frames read outside the window
  memory.bank_frames = 64  # E >= V + R + F, frames kept
  memory.archive = 'none'  # none | host: where frames go that leave the bank
  memory.archive_frames = 2400  # A, latent frames that host memory holds
  memory.evict = 'redundant'  # oldest | redundant | unused | merge
  memory.scope = 'layer'  # layer | shared | head: who decides what is routed
  memory.route_layer = 1  # the deciding layer when shared
  memory.reroute = 'step'  # step | chunk: how often it is decided
  memory.cfg_routing = 'conditional'  # conditional | own: negative branch
  memory.dtype = 'compute'  # compute | int8 | fp8 | int4: of keys and values
  memory.training = 'routed'  # routed | full: the teacher-forced form
  memory.reencode = False  # control: window recomputed from an empty bank

  diffusion = config.diffusion = ConfigDict()
  diffusion.shift = 5.0  # s of eq. (3)
  diffusion.time_per = 'chunk'  # chunk | film: what shares one t in training
  # noisy copies of a film that share the pass over its clean copy
  diffusion.copies = 1
  # share of times that are 1, where only prompt and memory say what to draw
  diffusion.pure_noise = 0.0
  # largest deviation of the noise on the clean copy of a film, against drift
  diffusion.history_noise = 0.0

  rollout = config.rollout = ConfigDict()
  rollout.weights = 'base'  # the network to take from a --weights folder
  rollout.sampler = 'euler'  # euler | unipc (base) | few_step (student)
  rollout.steps = 24  # J, 1 to 100; a student (few_step) has 1, 2 or 4
  rollout.first_steps = 0  # few_step: J of a film's first chunk; 0 = steps
  rollout.guidance = 3.0  # w of u + w (c - u); 1 = no negative branch
  rollout.negative_prompt = ''  # what guidance leads away from
  rollout.commit = 'separate'  # separate | fused | reuse
  rollout.chunks_per_call = 1  # chunks of one compiled scan; 1 when live

  data = config.data = ConfigDict()
  data.films = ''  # folder of a TFDS data set of latent films
  data.chunks = 11  # N of a training batch; films are cut or padded to it
  # processes that cast films of story.kinds; 0 = threads of this process
  data.workers = 0

  story = config.story = ConfigDict()
  story.films = 4096  # films that data_prep/story.py renders for training
  story.seed = 1  # seed of the training films
  story.clip_frames = 9  # pixel frames of a codec training clip
  # pairs (kind, share) of films where data.films is '': each is cast, painted
  # and encoded when it is needed, and none is seen twice; () = none
  story.kinds = ()
  # chunks | frames: what shots of these films keep where chunks are shorter
  story.shots_keep = 'chunks'
  story.appearance_weight = 1.0  # of the loss where a character is; else 1

  # supervises what layers of the base know of each frame, beside its loss
  alignment = config.alignment = ConfigDict()
  alignment.weight = 0.0  # of that loss; 0 = off
  # labels | returns (of story.kinds) | features (of data_prep.features)
  alignment.target = 'labels'
  alignment.layers = (3,)  # from 0; those above are free to use what is there
  alignment.last_update = 0  # in which it acts; 0 = in all
  alignment.features = 768  # A, of one frame; 768 of DINOv2's base size

  init = config.init = ConfigDict()  # the student before distillation
  init.method = 'cd'  # ode | cd (consistency)
  init.teacher = 'causal'  # causal (base) | bidirectional (base_bidirectional)
  # ode: folder of data_prep.trajectories; '' = integrated for each batch
  init.trajectories = ''
  init.grid = 48  # steps of the teacher's solver
  init.guidance = 3.0  # w of the teacher; the papers: 6 for ode, 3 for cd
  init.last_pair = True  # cd: also from the last time to 0

  dmd = config.dmd = ConfigDict()  # stages dmd and tune
  dmd.guidance = 4.0  # w of the real score, u + w (c - u)
  dmd.every = 5  # updates of the fake score to one of the student
  dmd.fake_learning_rate = 4e-7  # peak learning rate of the fake score
  dmd.scores = 'causal'  # causal (base) | bidirectional (base_bidirectional)
  # sizes of the real score, of train.real_weights; 0 = the student's
  dmd.real_layers = 0
  dmd.real_heads = 0
  dmd.real_head_features = 0
  dmd.real_mlp_features = 0
  dmd.gan_weight = 0.0  # weight of the adversarial loss; 0 = no adversary
  dmd.gan_layers = (2, 4, 5)  # layers of the fake score that the head reads
  dmd.gan_features = 128  # features of the head
  dmd.gan_r1 = 0.0  # penalty on the head's slope at real films
  dmd.gan_r2 = 0.0  # penalty on it at the student's films
  dmd.window = 7  # tune: chunks of a film that the scores read
  dmd.context = 1  # tune: how many of them, at the start, are only history

  train = config.train = ConfigDict()
  train.stages = ('codec', 'base')  # the stages to train, in this order
  train.log_every_steps = 20  # updates between lines of metrics
  train.save_every_steps = 200  # updates between checkpoints
  # how often a base on story.kinds is measured on held-out films; 0 = never
  train.probe_every_steps = 200
  # updates between sampled films, if one process trains; 0 = never
  train.sample_every_steps = 1000
  train.keep_checkpoints = 2  # how many of the newest checkpoints stay
  train.keep_best = 0  # others that stay, by mean loss since the last save
  train.wandb_project = ''  # project of Weights & Biases; '' = none
  train.weights_dtype = 'bfloat16'  # float32 | bfloat16: of written weights
  # weights files ('' = none): where a stage starts from, or, if no stage of
  # this run makes them, what is used
  train.codec_weights = ''
  train.base_weights = ''
  train.base_bidirectional_weights = ''
  train.init_weights = ''
  train.dmd_weights = ''
  train.real_weights = ''  # the real score of dmd; '' = the base
  train.teller_weights = ''  # a base whose words teach another one actions

  config.stage = ConfigDict()
  config.stage.codec = _stage(
    steps=2500, batch=8, learning_rate=1e-2, optimizer='muon'
  )
  # peak rate of the weights that muon leaves to AdamW; 0 = learning_rate
  config.stage.codec.adam_learning_rate = 0.0
  config.stage.base = _stage(steps=1500, batch=8, learning_rate=2e-3)
  config.stage.base_bidirectional = _stage(
    steps=1500, batch=8, learning_rate=2e-3
  )
  for stage in (config.stage.base, config.stage.base_bidirectional):
    stage.drop_text = 0.1  # films trained with the negative prompt
  config.stage.init = _stage(steps=500, batch=8, learning_rate=2e-4)
  config.stage.init.ema = 0.99
  config.stage.init.ema_warmup = False  # the average is a target from step 0

  for name in ('dmd', 'tune'):
    stage = config.stage[name] = _stage(steps=1000, batch=8, learning_rate=2e-6)
    stage.beta1, stage.beta2 = 0.0, 0.999
    stage.schedule, stage.warmup_steps = 'constant', 0
    stage.clip_norm = 10.0
    stage.ema = 0.998  # in every update; about .99 in each of the student's

  mesh = config.mesh = ConfigDict()  # devices along each axis; -1 = the rest
  mesh.data = 1
  mesh.fsdp = -1
  mesh.sequence = 1
  mesh.tensor = 1

  evaluation = config.eval = ConfigDict()
  evaluation.seed = 1_000_003  # seed of films, not that of training films
  evaluation.films = 64  # how many are evaluated
  # eval | long | strict | minutes: how films are cast (10-11, 40, about
  # 25, and 400 chunks)
  evaluation.kind = 'eval'
  evaluation.batch = 8  # films rolled out together
  evaluation.cuts = 'content'  # content | transnetv2:FILE finds cuts
  evaluation.matching = 'greedy'  # greedy | optimal: cuts found to asked for
  # frames before a return that do not show the returning character
  evaluation.window_frames = memory.get_oneway_ref('window_frames')
  # frames of SCA's penalty for a missed or extra cut; 0 = mean shot length
  evaluation.penalty_frames = 0.0
  # what consistency compares: pixels, taef2:FOLDER, dinov2:FOLDER, clip:FOLDER
  evaluation.features = ('pixels',)

  serving = config.serving = ConfigDict()
  serving.slots = 1  # films that one call computes; 1 if one fills a device
  serving.sessions = 8  # live at the same time
  serving.lead_chunks = 1  # finished and not yet on screen, at most
  serving.kept_states = 6  # snapshots of a session, to rewind to and fork at
  # chunks between saved states of a film; a restart repeats as many, at most
  serving.state_chunks = 64
  serving.film_chunks = 1200  # the longest film
  serving.idle_secs = 600.0  # without viewers or requests: saved and freed
  serving.saved_sessions = 32  # films on disk; then no new one can be made
  serving.deleted_days = 7.0  # how long a deleted film can be taken back
  serving.viewers = 8  # viewers of a session, at most
  # the longest prompt; a text encoder may read less and says what it cuts
  serving.prompt_chars = 5000
  # messages from one client; ten times as many in a burst
  serving.messages_per_sec = 20.0
  # compiled programs that stay: of a policy, steps, guidance, routed frames
  serving.programs = 12
  # sets of weights beside the first that stay: of other steps, other LoRAs
  serving.weight_sets = 3
  # open connections; when there are more, the one idle longest is closed
  serving.connections = 512
  # how long a connection may take to send a request, or to take an answer
  serving.request_secs = 20.0
  serving.exports = 8  # finished downloads that stay on disk, the newest
  return config


def _stage(
  steps: int, batch: int, learning_rate: float, optimizer: str = 'adamw'
) -> ConfigDict:
  stage = ConfigDict()
  stage.steps = steps  # optimizer updates
  stage.batch = batch  # examples per update, over all devices
  stage.accumulate = 1  # parts of a batch, computed one after another
  stage.optimizer = optimizer  # adamw | muon (matrices of blocks and codecs)
  stage.learning_rate = learning_rate  # peak learning rate
  stage.warmup_steps = 100  # updates in which the rate rises
  stage.schedule = 'cosine'  # constant | cosine
  stage.final_share = 0.1  # share of the peak rate at the end of a cosine
  # rows of `configs.phase`, one after another: updates, and what differs from
  # the config meanwhile; () = one phase of `steps` updates
  stage.phases = ()
  # updates of each phase in place of those that it names; () = as named
  stage.phase_steps = ()
  stage.beta1 = 0.9  # decay of the gradient's first moment
  stage.beta2 = 0.95  # of its second moment; adamw's
  # float32 | bfloat16: of the optimizer's state at rest. bfloat16 forgets
  # changes below a 256th: for beta2 of .95, not of .999
  stage.moments_dtype = 'float32'
  stage.weight_decay = 0.01  # decay of matrices only
  stage.clip_norm = 1.0  # largest global gradient norm
  stage.spike_norm = 0.0  # a larger gradient norm is a spike; 0 = none is
  stage.on_spike = 'stop'  # stop | skip: after a spike or a NaN
  stage.ema = 0.999  # decay of the running average of weights
  stage.ema_warmup = True  # decay at most (1 + n) / (10 + n) at update n
  lora = stage.lora = ConfigDict()
  lora.rank = 0  # rank of adapters trained in place of networks; 0 = none
  lora.alpha = 16.0  # adapters are scaled by alpha / rank
  # regex of the layers that have one: all kernels of blocks
  lora.targets = 'blocks/((self|cross)_attention/.*|mlp_(in|out))'
  return stage
