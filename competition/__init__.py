"""From a competition's downloaded files to a submission its grader accepts.

::

    data.root -> prepare -> data/prepare/  samples.csv  train.npy  test.npy  contract.json  report.json  overview.png
    prepare   -> augment -> data/augment/  policy.json  view-<v>.npy  preview.png
    augment   -> tune    -> data/tune/     trials.csv  hyperparameters.yaml
    tune      -> train   -> data/train/    fold-<k>.weights.h5  contract.json  oof.csv  metrics.json  history.csv
                                           mistakes.png  env.json
    train     -> predict -> data/predict/  probabilities.csv  submission.csv

One word per stage: the DVC stage, the command ``compete <stage>``, the module ``competition.stages.<stage>``, its
function, the section of ``params.yaml`` and the folder ``data/<stage>/`` all bear it. Stages meet in these files only.
"""
