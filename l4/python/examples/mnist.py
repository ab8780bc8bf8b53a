"""A perceptron on data of MNIST's size, without a learning rate.

    python examples/mnist.py

The data are made here: ten patterns of 28 x 28 pixels, each image its class's pattern with two thirds of the pixels
replaced by noise. For MNIST itself put torchvision.datasets.MNIST in its place.
"""

import torch

from l4_torch import L4Adam

CLASSES, PIXELS, BATCH = 10, 28 * 28, 64


def data(count, patterns):
    labels = torch.randint(CLASSES, (count,))
    noise = torch.rand(count, PIXELS)
    return torch.where(torch.rand(count, PIXELS) < 1 / 3, patterns[labels], noise), labels


def accuracy(model, images, labels):
    with torch.no_grad():
        return (model(images).argmax(dim=1) == labels).float().mean().item()


def main():
    torch.manual_seed(0)
    patterns = torch.rand(CLASSES, PIXELS)
    images, labels = data(60_000, patterns)
    test_images, test_labels = data(10_000, patterns)
    model = torch.nn.Sequential(
        torch.nn.Linear(PIXELS, 300),
        torch.nn.ReLU(),
        torch.nn.Linear(300, 100),
        torch.nn.ReLU(),
        torch.nn.Linear(100, CLASSES),
    )
    optimizer = L4Adam(model.parameters())
    for step, batch in enumerate(torch.randperm(len(images)).split(BATCH)):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
        loss.backward()
        optimizer.step(loss=loss)
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}, eta {optimizer.learning_rate.item():.3g}")
    print(f"test accuracy {accuracy(model, test_images, test_labels):.4f}")


if __name__ == "__main__":
    main()
