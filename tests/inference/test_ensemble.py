import pytest
import torch

import nasoseg
from nasoseg.data.training_data import TrainingData
from nasoseg.errors import NasosegError
from nasoseg.inference.ensemble import Ensemble

SIDED = ["LeftParotid", "Larynx", "RightParotid"]
BANDS = [(0.0, 200.0), (300.0, 500.0), (600.0, 900.0)]


def test_the_probabilities_of_models_are_averaged(make_model):
    one, other = make_model(), make_model(bands=[(0.0, 200.0), (300.0, 700.0)])
    image = torch.rand(2, 1, 6, 7, generator=torch.manual_seed(0)) * 2 - 1
    expected = (one(image).sigmoid() + other(image).sigmoid()) / 2
    torch.testing.assert_close(Ensemble([one, other])(image), expected)
    multiclass = make_model(head="multiclass")
    torch.testing.assert_close(Ensemble([multiclass])(image), multiclass(image).softmax(dim=1))


def test_a_model_in_training_mode_is_evaluated_and_stays_as_it_is():
    torch.manual_seed(0)
    model = nasoseg.TwoStageUNet(labels=["Larynx", "Mandible"], width=4)
    training = TrainingData(((-1000.0, 1000.0),))
    image = torch.rand(2, 1, 64, 64, generator=torch.manual_seed(0)) * 2 - 1
    model.train()
    model(image)  # statistics that are not those of the beginning
    expected = model.eval()(image).sigmoid()
    model.train()
    frozen = next(part for part in model.modules() if isinstance(part, torch.nn.BatchNorm2d)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ensemble = Ensemble([model], training=training)
    for _ in range(2):
        torch.testing.assert_close(ensemble(image), expected)
    assert [part for part in model.modules() if not part.training] == [frozen]
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


@pytest.mark.parametrize("head", ["multilabel", "multiclass"])
def test_the_mirrored_image_is_averaged_with_sides_swapped_back(make_model, head):
    model = make_model(labels=SIDED, bands=BANDS, head=head)
    image = torch.rand(1, 1, 4, 8, generator=torch.manual_seed(0)) * 2 - 1
    straight = Ensemble([model])(image)
    mirrored = Ensemble([model])(image.flip(-1)).flip(-1)
    first = int(head == "multiclass")
    order = [*range(first), first + 2, first + 1, first]
    torch.testing.assert_close(Ensemble([model], mirror=True)(image), (straight + mirrored[:, order]) / 2)


def test_a_side_without_a_partner_is_not_mirrored(make_model):
    with pytest.raises(NasosegError, match="'LeftParotid' has no partner"):
        Ensemble([make_model(labels=["LeftParotid", "Larynx"])], mirror=True)


def test_models_must_be_alike(make_model):
    model = make_model()
    with pytest.raises(NasosegError, match="differ in labels"):
        Ensemble([model, make_model(labels=["Mandible", "Brainstem"])])
    with pytest.raises(NasosegError, match=r"differ in in_channels|different images"):
        Ensemble([model, make_model(context=1)])
    with pytest.raises(NasosegError, match="different images"):
        Ensemble([model, make_model(windows_hu=((0.0, 100.0),))])
    with pytest.raises(NasosegError, match="found no model"):
        Ensemble([])


def test_a_model_must_say_how_its_images_are_made(make_model):
    model = make_model()
    model.training_data = None
    with pytest.raises(NasosegError, match="does not say how its images were made"):
        Ensemble([model])
    with pytest.raises(NasosegError, match=r"have 3 channels .* takes 1"):
        Ensemble([model], training=TrainingData(((-1000.0, 1000.0),), context=1))
    assert Ensemble([model], training=TrainingData(((-1000.0, 1000.0),))).training.context == 0
