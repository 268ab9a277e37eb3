from keras_clmae.callbacks.online_knn import OnlineKNN
